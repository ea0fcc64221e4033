import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildTests, type Finished, type TestProgram } from "../inspect/selftests/build-tests.ts";
import { openKernelTree, type TestSuite } from "../inspect/selftests/kernel-tree.ts";
import { skipUnmet } from "../inspect/selftests/machine-needs.ts";
import { reportSelftests } from "../inspect/selftests/report.ts";
import { type ProgramResult, readResults } from "../inspect/selftests/test-results.ts";
import { deviceName, findDevice } from "../machine/find-device.ts";
import { mock } from "../machine/hosts/mock.ts";
import { STDIN } from "../machine/input-file.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { isForSelftests } from "../machine/selftest-host.ts";
import { toYaml } from "../machine/write-host.ts";
import { ownProgram } from "../native/own-program.ts";
import { putInOrderAfter } from "./ended-by-signal.ts";
import { UsageError } from "./errors.ts";
import { printLine } from "./output.ts";
import { Progress } from "./progress.ts";
import { SelftestsScratch } from "./selftests-scratch.ts";

export interface SelftestsOptions extends HostOverrides {
  readonly machine?: string;
  readonly device?: string;
  readonly only?: readonly string[];
  readonly build?: string;
  readonly json?: boolean;
}

/** The ready-made host's first DMA engine. */
const DEFAULT_DEVICE = "0000:01:00.0";
/** Where each kind of tests runs when no host is named. */
const DEFAULT_HOSTS: Readonly<Record<TestSuite["name"], string>> = { vfio: "lab", iommu: mock.name };
/** How long one test program may take, in milliseconds; the slowest copies 320 GiB. */
const TIMEOUT = 900_000;

/**
 * `uvfio selftests`: builds a kernel tree's selftests of VFIO and iommufd and runs each under `uvfio run`, as the
 * release that the tree is of. A host that is named has those that suit it. Exit status 1 when a test fails. Ended by a
 * signal, it takes all that it has started and made with it.
 */
export async function selftestsCommand(path: string, options: SelftestsOptions): Promise<number> {
  const { machine, kernel, api, json = false } = options;
  const tree = openKernelTree(resolve(path));
  const overrides = { kernel: kernel ?? tree.release, ...(api !== undefined && { api }) };
  const host = await loadHost(machine ?? DEFAULT_HOSTS.vfio, overrides);
  const isForIommufd = isForSelftests(host);
  const suites = tree.suites.filter(({ name }) => machine === undefined || (name === "iommu") === isForIommufd);
  if (suites.length === 0)
    throw new UsageError(`${path}: Linux ${tree.release} has no tests for a host like ${machine}; take 7.2 or newer`);
  const device = isForIommufd ? undefined : deviceName(findDevice(host, options.device ?? DEFAULT_DEVICE).device);
  const scratch = new SelftestsScratch();
  const work = async () => {
    const folder = options.build === undefined ? scratch.path : resolve(options.build);
    const run = (command: string, args: readonly string[]) => finished(scratch, command, args);
    const programs = chosen(await buildTests(tree, suites, folder, run), suites, options.only);
    // every program's run reads the host again, and stdin is read
    const file = join(scratch.path, "host.yaml");
    if (machine === STDIN) writeFileSync(file, toYaml(host));
    const argumentsOf = ({ suite, path: program }: TestProgram) => [
      ...["run", "-q", "-m", machine === STDIN ? file : (machine ?? DEFAULT_HOSTS[suite])],
      ...["--kernel", overrides.kernel, ...(api === undefined ? [] : ["--api", api]), "--", program],
      ...(suite === "vfio" && device !== undefined ? [device] : []),
    ];
    const results = await runAll(programs, argumentsOf, scratch);
    printLine(json ? JSON.stringify(results, null, 2) : reportSelftests(results));
    return results.some((program) => program.results.some(({ outcome }) => outcome === "fail")) ? 1 : 0;
  };
  return putInOrderAfter(work, () => scratch.remove());
}

/** The programs that are wanted. @throws UsageError for one that there is not */
function chosen(
  programs: readonly TestProgram[],
  suites: readonly TestSuite[],
  only: readonly string[] | undefined,
): readonly TestProgram[] {
  const names = programs.map(({ path }) => basename(path));
  const where = suites.map(({ tests }) => tests).join(" and ");
  for (const name of only ?? [])
    if (!names.includes(name)) throw new UsageError(`${where}: no test ${name}; there are ${names.join(", ")}`);
  return programs.filter(({ path }) => !only || only.includes(basename(path)));
}

async function runAll(
  programs: readonly TestProgram[],
  argumentsOf: (program: TestProgram) => readonly string[],
  scratch: SelftestsScratch,
): Promise<readonly ProgramResult[]> {
  const progress = new Progress(programs.length, "testing");
  const results: ProgramResult[] = [];
  try {
    for (const program of programs) {
      const name = basename(program.path);
      progress.start(name);
      const [command, ...cli] = ownProgram("main", fileURLToPath(new URL("./main.js", import.meta.url)));
      const { output, status } = await finished(scratch, command, [...cli, ...argumentsOf(program)], TIMEOUT);
      const result = readResults(name, output, status);
      results.push(program.suite === "iommu" ? skipUnmet(result) : result);
    }
  } finally {
    progress.end();
  }
  return results;
}

/**
 * Runs a program to its end, with both its streams in one file, in the order in which it wrote.
 * @param timeout milliseconds after which it is ended with all that it has started
 */
function finished(
  scratch: SelftestsScratch,
  command: string,
  args: readonly string[],
  timeout?: number,
): Promise<Finished> {
  const file = join(scratch.path, "output");
  const log = openSync(file, "w");
  return new Promise((done, failed) => {
    const child = spawn(command, args, { stdio: ["ignore", log, log], env: scratch.env });
    closeSync(log);
    const timer = timeout === undefined ? undefined : setTimeout(() => scratch.endProcesses(), timeout);
    child.on("error", failed);
    child.on("close", (status) => {
      clearTimeout(timer);
      done({ output: readFileSync(file, "utf8"), status });
    });
  });
}
