import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "./uvfio.ts";

/** As much as an ordinary user may lock, who has no CAP_IPC_LOCK. */
const MEBIBYTES = "4";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** What QEMU does for a guest on POWER, by a program with this machine's request numbers and pages. */
describe.skipIf(!hasCompiler)("uvfio run on a POWER host (needs gcc and linux-libc-dev)", () => {
  const guest = (host: string, pageShift: number) =>
    uvfio("run", "-m", host, "--", compile("spapr-guest", scratch.path), "/dev/vfio/0", MEBIBYTES, String(pageShift));

  test.each([
    ["power9", 16, "0"],
    ["power9", 12, "0"],
    ["pseries", 16, "0x800000000000000"],
    // up to the default window's size, 4K pages make the default window again
    ["pseries-4k", 12, "0"],
  ])("%s maps the guest's memory in a window with pages of 2^%i", (host, pageShift, start) => {
    const { status, stdout, stderr } = guest(host, pageShift);
    expect(stderr).toBe("");
    expect(stdout).toContain(`window at ${start}\nmapped 16 pieces\nunmap: 0\nremove the window: 0\nunregister: 0\n`);
    expect(status).toBe(0);
  });

  test("pages of 64K take a kernel that has them, or huge pages", () => {
    const { status, stdout, stderr } = guest("power9-4k", 16);
    expect(stdout).toContain("map: Invalid argument\nmapped 0 pieces\n");
    expect(stderr).toMatch(/VFIO_IOMMU_MAP_DMA = EINVAL: the registered memory .* is good for IOMMU pages up to 4K/);
    expect(status).toBe(1);
  });
});
