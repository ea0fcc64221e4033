import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, Scratch } from "./clean-copy.ts";
import { hasRegistry, run, succeed } from "./commands.ts";

const scratch = new Scratch();
afterAll(() => scratch.remove());

const hasCompiler =
  spawnSync("gcc", ["-fsyntax-only", "-x", "c", "-"], { input: "#include <linux/vfio.h>\n" }).status === 0;

describe("the single executable", () => {
  const elsewhere = scratch.folder("elsewhere");
  const uvfio = join(elsewhere, "uvfio");
  /** Without node, npm, a home or anything else that an environment says. */
  const bare = (...command: string[]) => run(elsewhere, ["env", "-i", "PATH=", ...command]);

  beforeAll(() => {
    succeed(ROOT, ["node", "scripts/build-binary.mjs", "--output", join(scratch.path, "built")]);
    copyFileSync(join(scratch.path, "built"), uvfio);
  });

  test("is one file that says its version and helps", () => {
    expect(bare(uvfio, "--version")).toMatchObject({ status: 0, stderr: "", stdout: `${version()}\n` });
    for (const command of ["run", "fit", "selftests", "replay"])
      expect(bare(uvfio, command, "--help").stdout).toContain(`Usage: uvfio ${command}`);
  });

  test("answers whether a guest fits, on a host that it reads from a file", () => {
    const host = join(elsewhere, "host.yaml");
    writeFileSync(host, bare(uvfio, "hosts", "amd", "--yaml").stdout);
    const { status, stdout: answer } = bare(uvfio, "fit", "-m", host, "--memory", "2T");
    expect(answer).toContain("RAM above 1 TiB");
    expect(status).toBe(0);
  });

  test.skipIf(!hasCompiler)("runs a program (needs gcc and linux-libc-dev)", () => {
    const client = join(elsewhere, "client");
    succeed(elsewhere, ["gcc", "-O1", "-o", client, join(ROOT, "test/clients/iova-ranges.c"), "-lpthread"]);
    const { status, stdout, stderr } = bare(uvfio, "run", "--", client, "0000:00:1b.0");
    expect(stdout).toContain("valid iova 0000000000000000 - 00000000fedfffff\n");
    expect(stderr).toMatch(/^uvfio: client\[\d+\]: VFIO_IOMMU_MAP_DMA = EINVAL: [^\n]*\n$/);
    expect(status).toBe(0);
  });

  test("leaves nothing behind: no file beside it, none in memory", () => {
    const before = [...readdirSync("/dev/shm"), ...readdirSync(elsewhere)];
    bare(uvfio, "run", "--", "/bin/true");
    expect([...readdirSync("/dev/shm"), ...readdirSync(elsewhere)]).toEqual(before);
  });

  test("tells the program when it is killed itself: its own parts start from it", async () => {
    const child = spawn(uvfio, ["run", "--", "/bin/sh", "-c", "echo $$; exec sleep 100"], { stdio: "pipe", env: {} });
    const [pid] = await once(child.stdout, "data");
    child.kill("SIGKILL");
    const deadline = Date.now() + 10_000;
    while (existsSync(`/proc/${Number(pid)}`) && Date.now() < deadline)
      await new Promise((done) => setTimeout(done, 20));
    expect(existsSync(`/proc/${Number(pid)}`)).toBe(false);
  });

  test("carries the code that it has compiled: a start writes none to the cache", () => {
    const cache = scratch.folder("cache");
    succeed(elsewhere, ["env", "-i", `XDG_CACHE_HOME=${cache}`, uvfio, "run", "--", "/bin/true"]);
    expect(readdirSync(cache)).toEqual([]);
  });
});

const EMULATOR = "qemu-aarch64-static";
const hasEmulator = spawnSync(EMULATOR, ["--version"]).status === 0;

// The whole of it on arm64 is scripts/arm64-guest.sh: an emulator of single programs has no seccomp.
describe.skipIf(!hasEmulator || !hasRegistry())("the executable for arm64, under an emulator", () => {
  const uvfio = join(scratch.path, "uvfio-arm64");
  const libraries = scratch.folder("arm64");
  const emulated = (...args: string[]) => run("/", [EMULATOR, "-L", libraries, uvfio, ...args]);

  beforeAll(() => {
    succeed(ROOT, ["node", "scripts/build-binary.mjs", "--arch", "arm64", "--output", uvfio]);
    succeed(ROOT, ["scripts/debian-package.sh", "trixie", "libstdc++6:arm64", libraries, "--with-dependencies"]);
    symlinkSync("usr/lib", join(libraries, "lib"));
  });

  test("says its version, and whether a guest fits", () => {
    expect(emulated("--version")).toMatchObject({ status: 0, stdout: `${version()}\n` });
    expect(emulated("fit", "-m", "arm", "--memory", "64G").stdout).toMatch(/^It fits\.\n/);
  });
});

function version(): string {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version;
}
