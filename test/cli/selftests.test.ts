import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasCompiler, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const hasMake = spawnSync("make", ["--version"]).status === 0;

/** As little of a kernel tree as there can be: its tests are scripts that look at what the host shows them. */
function plant(name: string, files: Record<string, string>): string {
  for (const [file, text] of Object.entries(files)) {
    const path = join(scratch.path, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return join(scratch.path, name);
}

const MAKEFILE = "VERSION = 6\nPATCHLEVEL = 18\n\nheaders:\n\tmkdir -p $(O)/usr/include/linux\n";
const TESTS = "tools/testing/selftests/vfio";

describe.skipIf(!hasMake || !hasCompiler)("uvfio selftests (needs make and gcc)", () => {
  let tree = "";
  beforeAll(() => {
    tree = plant("linux", {
      Makefile: MAKEFILE,
      [`${TESTS}/Makefile`]:
        "all:\n\tcp good.sh $(OUTPUT)/good_test\n\tcp bad.sh $(OUTPUT)/bad_test\n\tchmod +x $(OUTPUT)/*_test\n",
      [`${TESTS}/good.sh`]:
        '#!/bin/sh\necho 1..1\ntest -e /sys/bus/pci/devices/$1/vfio-dev/vfio0 && echo "ok 1 a.iommufd.b" || echo "not ok 1 a.iommufd.b"\n',
      [`${TESTS}/bad.sh`]: '#!/bin/sh\necho 1..1\necho "no luck"\necho "not ok 1 a.vfio_type1_iommu.b"\nexit 1\n',
    });
  });

  test("builds, runs every program on the host lab, and reports; a failure is exit status 1", () => {
    const run = uvfio("selftests", tree);
    expect(run.stderr).toBe("");
    expect(run.stdout).toMatch(/^bad_test +0\/1\/0 /m);
    expect(run.stdout).toContain("failed: a.vfio_type1_iommu.b\n  no luck\n");
    expect(run.stdout).toContain("1 passed, 1 failed, 0 skipped");
    expect(run.status).toBe(1);
  });

  test("one program of them, as JSON", () => {
    const run = uvfio("selftests", tree, "--only", "good_test", "--json");
    expect(JSON.parse(run.stdout)).toEqual([
      { program: "good_test", results: [{ name: "a.iommufd.b", mode: "iommufd", outcome: "pass", detail: "" }] },
    ]);
    expect(run.status).toBe(0);
  });

  test("a test that is not there, or does not build, is said in one line or by the compiler", () => {
    expect(uvfio("selftests", tree, "--only", "nice_test")).toMatchObject({
      status: 2,
      stderr: `uvfio: ${join(tree, TESTS)}: no test nice_test; there are bad_test, good_test\n`,
    });
    const broken = plant("broken", { Makefile: MAKEFILE, [`${TESTS}/Makefile`]: "all:\n\t@echo no header; false\n" });
    const run = uvfio("selftests", broken);
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(/^uvfio: the selftests do not build \(gcc, make, .*\):\nno header\n/);
  });
});

describe.skipIf(!hasMake || !hasCompiler)("uvfio selftests that is ended (needs make and gcc)", () => {
  const temporary = join(scratch.path, "tmp");
  const pids = join(scratch.path, "pids");
  let tree = "";
  beforeAll(() => {
    mkdirSync(temporary);
    // a test that will not go, with children that have left it
    const stubborn = `#!/bin/bash
trap '' TERM INT HUP
setsid sleep 600 & echo $! >> ${pids}
(sleep 600 & echo $! >> ${pids})
exec 3<> /dev/vfio/vfio
echo $$ >> ${pids}
while :; do sleep 1; done
`;
    tree = plant("stubborn", {
      Makefile: MAKEFILE,
      [`${TESTS}/Makefile`]: "all:\n\tcp a.sh $(OUTPUT)/a_test\n\tchmod +x $(OUTPUT)/a_test\n",
      [`${TESTS}/a.sh`]: stubborn,
    });
  });

  /** Starts it, waits until its test runs, and ends it. */
  async function ended(signal: NodeJS.Signals): Promise<NodeJS.Signals | null> {
    writeFileSync(pids, "");
    const env = { ...process.env, TMPDIR: temporary };
    const child = spawn(process.execPath, [UVFIO, "selftests", tree], { env, stdio: "ignore" });
    while (readFileSync(pids, "utf8").split("\n").length < 4) await new Promise((later) => setTimeout(later, 20));
    expect(readdirSync(temporary)).toHaveLength(1);
    child.kill(signal);
    const [, by] = await once(child, "exit");
    return by;
  }

  function alive(): string[] {
    const isAlive = (pid: string) =>
      existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    return readFileSync(pids, "utf8").trim().split("\n").filter(isAlive);
  }

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "by %s takes all that it started and made with it",
    async (signal) => {
      expect(await ended(signal)).toBe(signal);
      expect(alive()).toEqual([]);
      expect(readdirSync(temporary)).toEqual([]);
    },
  );

  test("by SIGKILL leaves that to the next run", async () => {
    expect(await ended("SIGKILL")).toBe("SIGKILL");
    expect(alive()).not.toEqual([]);
    const next = spawnSync(process.execPath, [UVFIO, "selftests", tree, "--only", "nosuch"], {
      env: { ...process.env, TMPDIR: temporary },
    });
    expect(next.status).toBe(2);
    expect(alive()).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });
});

test("what is no kernel tree, or too old a one, is refused", () => {
  expect(uvfio("selftests", scratch.path)).toMatchObject({
    status: 2,
    stderr: `uvfio: ${scratch.path}: no kernel source tree (no Makefile with VERSION and PATCHLEVEL)\n`,
  });
  const old = plant("old", { Makefile: "VERSION = 6\nPATCHLEVEL = 12\n" });
  expect(uvfio("selftests", old)).toMatchObject({
    status: 2,
    stderr: `uvfio: ${old}: Linux 6.12 has no tools/testing/selftests/vfio; take 6.18 or newer\n`,
  });
});
