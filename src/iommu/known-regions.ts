import type { KnownRegion } from "./kind.ts";

/**
 * x86 interrupts are writes to this window (0xFEExxxxx, Intel SDM vol. 3, "Message Address Register Format"); every x86
 * recording shows it.
 */
export const X86_MSI_WINDOW: KnownRegion = {
  region: { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" },
  name: "the x86 interrupt window",
};

/**
 * Where the kernel maps MSI doorbells on Arm: MSI_IOVA_BASE and _LENGTH (drivers/iommu/arm/arm-smmu-v3,
 * virtio-iommu.c); recorded on smmuv3.
 */
export const ARM_SOFTWARE_MSI_WINDOW: KnownRegion = {
  region: { start: 0x800_0000n, last: 0x80f_ffffn, type: "msi" },
  name: "the window for Arm MSI doorbells",
};
