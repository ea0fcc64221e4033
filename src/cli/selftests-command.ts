import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildTests } from "../inspect/selftests/build-tests.ts";
import { openKernelTree } from "../inspect/selftests/kernel-tree.ts";
import { reportSelftests } from "../inspect/selftests/report.ts";
import { type ProgramResult, readResults } from "../inspect/selftests/test-results.ts";
import { deviceName, findDevice } from "../machine/find-device.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { UsageError } from "./errors.ts";

export interface SelftestsOptions extends HostOverrides {
  readonly machine?: string;
  readonly device: string;
  readonly only?: readonly string[];
  readonly build?: string;
  readonly json?: boolean;
}

/** How long one test program may take, in milliseconds; the slowest copies 320 GiB. */
const TIMEOUT = 900_000;

/**
 * `uvfio selftests`: builds a kernel tree's VFIO selftests and runs each under `uvfio run`, as the release that the tree is of.
 * Exit status 1 when a test fails.
 */
export async function selftestsCommand(path: string, options: SelftestsOptions): Promise<number> {
  const { machine = "lab", kernel, api, only, json = false } = options;
  const tree = openKernelTree(resolve(path));
  const overrides = { kernel: kernel ?? tree.release, ...(api !== undefined && { api }) };
  const host = await loadHost(machine, overrides);
  const device = deviceName(findDevice(host, options.device).device);
  const scratch = mkdtempSync(join(tmpdir(), "uvfio-selftests-"));
  try {
    const programs = buildTests(tree, options.build === undefined ? scratch : resolve(options.build));
    const wanted = programs.filter((program) => !only || only.includes(basename(program)));
    for (const name of only ?? [])
      if (!programs.some((program) => basename(program) === name))
        throw new UsageError(
          `${tree.tests}: no test ${name}; there are ${programs.map((p) => basename(p)).join(", ")}`,
        );
    const results: ProgramResult[] = [];
    for (const program of wanted) {
      const args = ["-q", "-m", machine, "--kernel", overrides.kernel, ...(api === undefined ? [] : ["--api", api])];
      const { output, status } = await run(args, [program, device], join(scratch, "output"));
      results.push(readResults(basename(program), output, status));
    }
    console.log(json ? JSON.stringify(results, null, 2) : reportSelftests(results));
    return results.some((program) => program.results.some(({ outcome }) => outcome === "fail")) ? 1 : 0;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs a program under `uvfio run` with both its streams in one file, in the order in which it wrote. */
function run(
  options: readonly string[],
  argv: readonly string[],
  file: string,
): Promise<{ output: string; status: number | null }> {
  const cli = fileURLToPath(new URL("./main.js", import.meta.url));
  const log = openSync(file, "w");
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [cli, "run", ...options, "--", ...argv], {
      stdio: ["ignore", log, log],
      timeout: TIMEOUT,
    });
    closeSync(log);
    child.on("error", failed);
    child.on("close", (status) => done({ output: readFileSync(file, "utf8"), status }));
  });
}
