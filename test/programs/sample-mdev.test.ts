import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, ROOT, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const HOST = join(ROOT, "test/programs/sample-mdev.yaml");
const DEVICE = "c08db5ed-05d3-4b39-b150-438a18bc698f";

describe.skipIf(!hasCompiler)("a driver in C for the mediated sample device (needs gcc and linux-libc-dev)", () => {
  const drive = (...options: string[]) =>
    uvfio("run", "-m", HOST, ...options, "--", compile("sample-mdev", scratch.path), DEVICE);

  test("has pages pinned, written, read and taken away", () => {
    const { status, stdout, stderr } = drive();
    expect(stdout.split("\n")).toEqual([
      "region 0: 0x1000 bytes, flags 3",
      "region 2: 0x1000 bytes, flags 3",
      "this is mdv1",
      "dirty at first: 0x0",
      "pin pages 1 and 2: ok, 2 held",
      'write what is held: ok, memory has "from the device"',
      'read what is held: ok, the device has "from the program"',
      "write page 5 without pinning: ok",
      'memory has "from the program"',
      "dirty then: 0x26",
      "dirty and again: 0x6",
      "pin what is mapped read-only: Operation not permitted",
      "pin what is not mapped: Invalid argument",
      "write what is not held: No such device or address",
      "7 interrupts",
      "unmapped 0x8000 bytes: 0 held, 2 taken, 1 interrupt",
      "",
    ]);
    expect(stderr.split("\n")).toEqual([
      `uvfio: ${DEVICE}: PIN of 1 at iova 0x200000 ends with EPERM: the mapping 0x200000-0x200fff is not mapped for writing`,
      `uvfio: ${DEVICE}: PIN of 1 at iova 0x400000 ends with EINVAL: iova 0x400000 is not mapped`,
      `uvfio: ${DEVICE}: WRITE_PINNED of 1 at iova 0x100000 ends with ENXIO: the device holds no such page; PIN has it hold some`,
      "",
    ]);
    expect(status).toBe(0);
  });

  test("ends where a kernel has no dirty tracking yet", () => {
    const { status, stderr } = drive("--kernel", "5.4");
    expect(stderr).toContain("a type1 container knows no request");
    expect(status).toBe(2);
  });
});
