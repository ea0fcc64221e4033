import { describe, expect, test } from "vitest";
import { finished, ROOT } from "../cli/uvfio.ts";

/** A folder in which scripts/smmu-guest.sh keeps what it fetches. */
const FOLDER = process.env.UVFIO_SMMU_GUEST ?? "";
/** An emulated machine in which another one runs takes its time. */
const TIMEOUT = 1_800_000;

if (FOLDER === "") console.log("the guest with an SMMU of its own: skipped, UVFIO_SMMU_GUEST names no folder");

describe.skipIf(FOLDER === "")("QEMU 11 with arm-smmuv3,accel=on (needs UVFIO_SMMU_GUEST)", () => {
  test("a Linux guest's own SMMU driver translates for its NVMe disk", { timeout: TIMEOUT }, () => {
    const run = finished("bash", ["scripts/smmu-guest.sh", FOLDER], { cwd: ROOT, timeout: TIMEOUT - 1000 });
    const said = run.stdout;
    expect(said, run.stderr).toContain("GUEST: same");
    expect(said).toContain("SMMU: the guest's disk has what it wrote");
    expect(said).toMatch(/ITS-PCI-MSIX-\S+ +1 Edge +nvme0q1/);
    expect(said).not.toMatch(/DMA (read|write) .* faults/);
    const parent = /HWPT_ALLOC, \{.*flags=NEST_PARENT.*out_hwpt_id=(\d+)\}\) = 0/.exec(said)?.[1];
    const viommu = new RegExp(`VIOMMU_ALLOC, \\{.*hwpt_id=${parent}, .*out_viommu_id=(\\d+).*\\) = 0`).exec(said)?.[1];
    // bypass and abort are made beforehand; the third is the one that the guest's driver has asked for
    const nested = said.match(new RegExp(`HWPT_ALLOC, \\{.*pt_id=${viommu}, .*data_type=ARM_SMMUV3.*\\) = 0`, "g"));
    expect(nested?.length).toBeGreaterThan(2);
    expect(said).toMatch(new RegExp(`HWPT_INVALIDATE, \\{.*hwpt_id=${viommu}, .*\\) = 0`));
  });
});
