import { lastOfBits } from "../../iommu/address-bits.ts";
import type { SmmuRegisters } from "../../iommu/description.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { ARM_SOFTWARE_MSI_WINDOW } from "../../iommu/known-regions.ts";
import { DEFAULT_MODULES, pciDevice } from "../describe.ts";
import type { GroupDescription, HostDescription, PciDeviceDescription } from "../host-description.ts";

/**
 * The recorded machine smmuv3-nest-k72fd, and beyond it access flags and dirty state that hardware sets (HTTU 2),
 * tables of context descriptors in two levels, and substreams of 20 bits.
 */
const REGISTERS: SmmuRegisters = {
  idr: [0x0d4c_109b, 0x0273_0510, 0, 0x1414, 0, 0x74],
  iidr: 0,
  aidr: 1,
  coherentWriteBack: true,
};

/**
 * As `arm`, with an SMMUv3 that has both stages, for VMMs that give a guest an SMMU of its own, and a disk that the
 * guest can use behind it.
 */
export const armNesting: HostDescription = {
  name: "arm-nesting",
  description: "Arm SMMUv3 with nested translation, substreams and dirty tracking, two edu, NVMe, /dev/iommu",
  kernel: "7.2",
  api: "mainline",
  arch: "arm64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: true,
  iommu: {
    model: "arm-smmu-v3",
    apertureStart: 0n,
    apertureLast: lastOfBits(48),
    pageSizes: kindOf("arm-smmu-v3").defaults.pageSizes(4096),
    cacheCoherent: true,
    interruptRemapping: true,
    nesting: true,
    dirtyTracking: true,
    smmu: REGISTERS,
  },
  modules: { ...DEFAULT_MODULES, vfio: { enableUnsafeNoiommuMode: false } },
  groups: [
    group(
      1,
      pciDevice({
        bdf: "0000:01:00.0",
        name: "edu with PASIDs",
        vendor: 0x1234,
        device: 0x11e8,
        translation: { pasid: true, ats: false, pri: false },
      }),
    ),
    group(2, pciDevice({ bdf: "0000:02:00.0", name: "edu", vendor: 0x1234, device: 0x11e8 })),
    group(3, pciDevice({ bdf: "0000:03:00.0", name: "NVMe", vendor: 0x1b36, device: 0x0010 })),
  ],
};

function group(id: number, device: PciDeviceDescription): GroupDescription {
  return { id, type: "DMA", reservedRegions: [ARM_SOFTWARE_MSI_WINDOW.region], devices: [device] };
}
