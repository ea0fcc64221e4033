import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const EDU = "0000:03:00.0";
const SAMPLE = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

describe.skipIf(!hasCompiler)("drivers in C through /dev/iommu (needs gcc and linux-libc-dev)", () => {
  const run = (program: string, kernel: string, ...args: string[]) =>
    uvfio("run", "-m", "lab", "--kernel", kernel, "--", compile(program, scratch.path), ...args);

  test("a device reads and writes files that are memory, as the program's own mapping shows", () => {
    const { status, stdout, stderr } = run("iommufd-edu", "7.2", EDU, "files");
    expect(stdout.split("\n")).toEqual([
      'memfd: map ok, seen "through the device", unmapped 0x6000',
      'tmpfs: map ok, seen "through the device", unmapped 0x6000',
      // what the program may not write the device may not either (docs/kernel-defects.md)
      'read-only descriptor: map ok, seen ""',
      "a program's file: Invalid argument",
      "a character device: Invalid argument",
      "a directory: Invalid argument",
      "a pipe: Invalid argument",
      "the iommufd: Invalid argument",
      "no file: Bad file descriptor",
      "beyond its end: Invalid argument",
      "its last page: ok",
      "cut to 4 pages: 16384 bytes",
      'grown again: "through the device"',
      "",
    ]);
    expect(stderr).toContain("IOMMU_IOAS_MAP_FILE = EINVAL: a file that is not VFIO's is no memory: a memfd is");
    expect(stderr).toContain("faults: the program itself may not write to the file: its descriptor is one for reading");
    expect(stderr).toContain("faults: the file's bytes from 0x7000 on are gone: it was cut");
    expect(status).toBe(0);
  });

  test.each(["files", "dirty"])("a trace of %s replays with equal answers", (what) => {
    const trace = join(scratch.path, `${what}.jsonl`);
    const client = compile("iommufd-edu", scratch.path);
    expect(uvfio("run", "-q", "-m", "lab", "--kernel", "7.2", "--trace", trace, "--", client, EDU, what).status).toBe(
      0,
    );
    const { status, stdout } = uvfio("replay", trace);
    expect(stdout).toContain(" 0 different");
    expect(status).toBe(0);
  });

  test.each(["6.12", "7.2"])("the IOMMU of Linux %s tells which pages a device wrote", (kernel) => {
    const { status, stdout, stderr } = run("iommufd-edu", kernel, EDU, "dirty");
    expect(stdout.split("\n")).toEqual([
      "capabilities: dirty tracking yes",
      "page table: ok",
      "start: ok, dirty 0x0",
      "looked at: 0x8000000000000018",
      "taken: 0x8000000000000018",
      "then: 0x0",
      "stop: ok",
      "",
    ]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  test("a device reaches another's registers through a dma-buf of its BAR", () => {
    const peer = (kernel: string) =>
      uvfio(
        ...["run", "-m", "lab-nesting", "--kernel", kernel, "--", compile("iommufd-peer", scratch.path)],
        ...["0000:01:00.0", "0000:02:00.0"],
      );
    const { status, stdout, stderr } = peer("7.2");
    expect(stdout.split("\n")).toEqual([
      "not a page: Invalid argument",
      "no such BAR: No such device",
      "dma-buf: ok",
      "close on exec: 1",
      "map: ok",
      "register: 0xedcba987",
      "read by the other: 0xedcba987",
      "switched off: 0x0",
      "map: No such device",
      "switched on: ok",
      "read by the other: 0xedcba987",
      "",
    ]);
    expect(stderr).toContain("the owner of the dma-buf has taken its memory back");
    expect(status).toBe(0);
    expect(peer("6.18").stdout).toContain("dma-buf: Inappropriate ioctl for device");
  });

  test("a mediated device's driver has pages pinned, written, read and taken away", () => {
    const { status, stdout, stderr } = run("iommufd-mdev", "6.12", SAMPLE);
    expect(stdout.split("\n")).toEqual([
      "pin before it is attached: No such file or directory",
      "attach: ok",
      "pin pages 1 and 2: ok, 2 held",
      'write what is held: ok, memory has "from the device"',
      'read what is held: ok, the device has "from the program"',
      'write page 5 without pinning: ok, memory has "from the program"',
      'read page 4 without pinning: ok, the device has "read at once"',
      "pin what is mapped read-only: Operation not permitted",
      "pin what is not mapped: No such file or directory",
      "write what is mapped read-only: Operation not permitted",
      "read what is not mapped: No such file or directory",
      "unmapped 0x6000 bytes: 0 held, 2 taken, 1 interrupt",
      "",
    ]);
    expect(stderr.split("\n")[0]).toBe(
      `uvfio: ${SAMPLE}: PIN of 1 at iova 0x100000 ends with ENOENT: mediated device ${SAMPLE} is not attached to an address space (VFIO_DEVICE_ATTACH_IOMMUFD_PT)`,
    );
    expect(status).toBe(0);
  });
});
