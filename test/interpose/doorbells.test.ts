import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { mappedDoorbells } from "../../src/interpose/doorbells/mapped-doorbells.ts";
import { compile, finished, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";
import { hasWatchpoints } from "../programs/watchpoints.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const LAB = "lab";

test("a doorbell's address follows from the mappings of its file", () => {
  const maps = [
    "7f0000000000-7f0000001000 rw-s 10000000000 00:01 55     /memfd:uvfio-device (deleted)",
    "7f0000002000-7f0000003000 rw-s 10000001000 00:01 55     /memfd:uvfio-device (deleted)",
    "7f0000004000-7f0000005000 rw-s 10000000000 00:02 55     /tmp/other",
  ].join("\n");
  const doorbells = [{ offset: 2 ** 40 + 0x86, width: 2 }];
  expect(mappedDoorbells(maps, [{ inode: 55, deviceMajor: 0, deviceMinor: 1, doorbells }])).toEqual([
    { address: 0x7f0000000086, width: 2, inode: 55, offset: 2 ** 40 + 0x86 },
  ]);
});

const isExact = hasWatchpoints(scratch.path);
if (!isExact) console.log("exact doorbells: skipped, there is no gcc or no debug register that stops a program");

describe.skipIf(!isExact)("a program that rings ioat's doorbell (needs gcc)", () => {
  const program = isExact ? compile("doorbell", scratch.path) : "";
  chmodSync(scratch.path, 0o755);
  const run = (mode: string) => uvfio("run", "-q", "-m", LAB, "--", program, "0000:01:00.0", mode);

  test.each(["plain", "threads", "fork", "vfork", "signals", "stop", "maps"])(
    "reads the outcome in its next instruction: %s",
    (mode) => {
      expect(run(mode)).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
    },
  );

  test("goes on when its whole process group is interrupted, uvfio included", () => {
    const command = [process.execPath, UVFIO, "run", "-q", "-m", LAB, "--", program, "0000:01:00.0", "interrupt"];
    expect(finished("setsid", ["-w", ...command])).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
  });

  const hasStrace = spawnSync("strace", ["-V"]).status === 0;

  test.skipIf(!hasStrace)("is served under strace, and uvfio says what it cannot do then", () => {
    const strace = ["strace", "-f", "-o", "/dev/null", program, "0000:01:00.0", "untraced"];
    const { status, stdout, stderr } = uvfio("run", "-m", LAB, "--", ...strace);
    expect([status, stdout]).toEqual([0, "done 1\n"]);
    expect(stderr).toMatch(
      /^uvfio: process \d+ maps registers of device 0000:01:00.0, and strace\[\d+\] traces it already: .* may be old .*\n$/,
    );
  });

  test.skipIf(!hasStrace)("is served by an uvfio that is itself under strace", () => {
    const command = [process.execPath, UVFIO, "run", "-m", LAB, "--", program, "0000:01:00.0", "untraced"];
    expect(finished("strace", ["-f", "-o", "/dev/null", ...command])).toMatchObject({ status: 0, stdout: "done 1\n" });
  });

  test("executes another one", () => {
    expect(run("exec")).toMatchObject({ stderr: "", stdout: "stale 0\nexecuted\n", status: 9 });
  });

  test.each([
    ["exit", 42],
    ["crash", 128 + 11],
  ])("keeps its exit status: %s", (mode, status) => {
    expect(run(mode).status).toBe(status);
  });
});
