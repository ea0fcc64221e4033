import { describe, expect, test } from "vitest";
import { uvfio } from "./uvfio.ts";

/** The listings of the mail of 25 May 2018, as they stand there. */
const INTEL = `---- Adding device: c08db5ed-05d3-4b39-b150-438a18bc698f ----
Initial info struct size: 0x18
No caps
---- Adding device: 0000:00:1b.0 ----
Initial info struct size: 0x18
Requested info struct size: 0x48
New info struct size: 0x48
argsz: 0x48, flags: 0x3, cap_offset: 0x18
00: 4800 0000 0300 0000 00f0 ffff ffff ffff
10: 1800 0000 0000 0000 0100 0100 0000 0000
20: 0200 0000 0000 0000 0000 0000 0000 0000
30: ffff dffe 0000 0000 0000 f0fe 0000 0000
40: ffff ffff ffff ff01
[cap id: 1, version: 1, next: 0x0]
Found type1 iova range version: 1
00: 0000000000000000 - 00000000fedfffff
01: 00000000fef00000 - 01ffffffffffffff
`;
const AMD = `---- Adding device: 0000:01:00.0 ----
Initial info struct size: 0x18
Requested info struct size: 0x58
New info struct size: 0x58
argsz: 0x58, flags: 0x3, cap_offset: 0x18
00: 5800 0000 0300 0000 00f0 ffff 7fff ffff
10: 1800 0000 0000 0000 0100 0100 0000 0000
20: 0300 0000 0000 0000 0000 0000 0000 0000
30: ffff dffe 0000 0000 0000 f0fe 0000 0000
40: ffff ffff fc00 0000 0000 0000 0001 0000
50: ffff ffff ffff ffff
[cap id: 1, version: 1, next: 0x0]
Found type1 iova range version: 1
00: 0000000000000000 - 00000000fedfffff
01: 00000000fef00000 - 000000fcffffffff
02: 0000010000000000 - ffffffffffffffff
`;

describe("uvfio iova-list", () => {
  test("prints the mail's listing of the Intel system", () => {
    const paths = ["/sys/bus/mdev/devices/c08db5ed-05d3-4b39-b150-438a18bc698f", "/sys/bus/pci/devices/0000:00:1b.0"];
    expect(uvfio("iova-list", "--kernel", "5.4", ...paths)).toEqual({ status: 0, stdout: INTEL, stderr: "" });
  });

  test("prints the mail's listing of the AMD system", () => {
    const run = uvfio("iova-list", "-m", "amd", "--kernel", "5.4", "0000:01:00.0");
    expect(run).toEqual({ status: 0, stdout: AMD, stderr: "" });
  });

  test("adds the capabilities that 6.12 has", () => {
    const { stdout } = uvfio("iova-list", "0000:00:1b.0");
    expect(stdout).toContain("Requested info struct size: 0x78");
    expect(stdout).toContain("avail: 65535");
  });
});
