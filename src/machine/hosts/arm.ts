import { lastOfBits } from "../../iommu/address-bits.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { ARM_SOFTWARE_MSI_WINDOW } from "../../iommu/known-regions.ts";
import { DEFAULT_MODULES, pciDevice } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * An Arm server as the recorded machine smmuv3 is: 48 bits, 4 KiB granule, MSI doorbells mapped by the kernel at
 * 0x8000000.
 */
export const arm: HostDescription = {
  name: "arm",
  description: "Arm SMMUv3, 48-bit IOVAs, software MSI window at 0x8000000",
  kernel: "6.12",
  api: "mainline",
  arch: "arm64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: false,
  iommu: {
    model: "arm-smmu-v3",
    apertureStart: 0n,
    apertureLast: lastOfBits(48),
    pageSizes: kindOf("arm-smmu-v3").defaults.pageSizes(4096),
    cacheCoherent: false,
    interruptRemapping: true,
  },
  modules: DEFAULT_MODULES,
  groups: [
    {
      id: 4,
      type: "DMA",
      reservedRegions: [ARM_SOFTWARE_MSI_WINDOW.region],
      devices: [pciDevice({ bdf: "0000:00:04.0", name: "edu", vendor: 0x1234, device: 0x11e8 })],
    },
    {
      id: 5,
      type: "DMA",
      reservedRegions: [ARM_SOFTWARE_MSI_WINDOW.region],
      devices: [pciDevice({ bdf: "0000:00:05.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 })],
    },
    {
      id: 6,
      type: "DMA",
      reservedRegions: [ARM_SOFTWARE_MSI_WINDOW.region],
      devices: [pciDevice({ bdf: "0000:00:06.0", name: "NVMe", vendor: 0x1b36, device: 0x0010 })],
    },
  ],
};
