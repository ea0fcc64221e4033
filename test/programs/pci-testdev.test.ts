import { chmodSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("a program that drives pci-testdev (needs gcc)", () => {
  test("reaches the registers of both BARs by every way to read and write, and by ioeventfds", () => {
    const program = compile("pci-testdev", scratch.path);
    chmodSync(scratch.path, 0o755);
    const { status, stdout } = uvfio("run", "-q", "-m", "lab", "--", program, "0000:04:00.0");
    expect(stdout.trimEnd().split("\n")).toEqual([
      "config: preadv=256 id=1b36:0005 pin=0 beyond=-14",
      "BAR0: size=0x1000 mmap=0 port=0",
      "BAR1: size=0x100 mmap=0 port=1",
      "0 mmio-no-eventfd offset=0x800 data=0xfa count=4",
      "1 mmio-wildcard-eventfd offset=0x801 data=0xce count=1",
      "2 mmio-datamatch-eventfd offset=0x802 data=0xfa count=0",
      "3 portio-no-eventfd offset=0x83 data=0xfa count=3",
      "4 portio-wildcard-eventfd offset=0x84 data=0xce count=1",
      "5 portio-datamatch-eventfd offset=0x85 data=0xfa count=0",
      "readv=47 mmio-no-eventfd lseek=-29",
      "read to the end=4048 behind it=-22 preadv over the end of BAR1=192 from its end=-22",
      "BAR0: ioeventfd count=2",
      "BAR1: ioeventfd count=2",
      "private map=-22 shared map=-22",
    ]);
    expect(status).toBe(0);
  });
});
