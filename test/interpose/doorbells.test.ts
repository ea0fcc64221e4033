import { chmodSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { mappedDoorbells } from "../../src/interpose/doorbells/mapped-doorbells.ts";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

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

describe.skipIf(!hasCompiler || process.arch !== "x64")("a program that rings ioat's doorbell (needs gcc)", () => {
  const program = hasCompiler ? compile("doorbell", scratch.path) : "";
  chmodSync(scratch.path, 0o755);
  const run = (mode: string) => uvfio("run", "-q", "-m", LAB, "--", program, "0000:01:00.0", mode);

  test.each(["plain", "threads", "fork", "signals"])("reads the outcome in its next instruction: %s", (mode) => {
    expect(run(mode)).toMatchObject({ stderr: "", stdout: "stale 0\n", status: 0 });
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
