import {
  IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
  IOMMU_HWPT_ALLOC_PASID,
  IommuHwInfoArmSmmuv3,
} from "../../uapi/iommufd-hwpt.ts";
import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import { captureWithoutFacts, type IommuKind, PLAIN_DRIVER } from "../kind.ts";
import { ARM_SOFTWARE_MSI_WINDOW } from "../known-regions.ts";

export const smmuV3: IommuKind = {
  model: "arm-smmu-v3",
  title: "Arm SMMUv3",
  translates: true,
  usualArch: "arm64",
  defaults: {
    // recorded on smmuv3, whose address_bits are null: 48 bits are what SMMUv3 has without 52-bit addresses
    aperture: { start: 0n, last: lastOfBits(48) },
    lastOfBits,
    bitsOfLast,
    // one granule is in use, the kernel's page size (io-pgtable-arm.c: arm_lpae_restrict_pgsizes); 4 KiB as recorded
    pageSizes: (pageSize) => {
      if (pageSize === 0x4000) return 0x200_4000n;
      return pageSize === 0x10000 ? 0x2001_0000n : 0x4020_1000n;
    },
    cacheCoherent: false,
    interruptRemapping: () => true,
    reservedRegions: () => [ARM_SOFTWARE_MSI_WINDOW],
    groupType: "DMA",
    container: "type1",
  },
  ownKeys: [],
  makeNesting: undefined,
  tracksDirtyPages: "no",
  needs: "smmuV3Driver",
  driver: {
    ...PLAIN_DRIVER,
    // stage-1 tables have no write-only entries (recorded in dma_writeonly)
    writeImpliesRead: () => true,
    // io-pgtable-arm.c:arm_lpae_map_pages
    beyondAperture: "ERANGE",
    // recorded: without stage 2 it says EPERM to nesting, the others have no such operation (g_nested_type)
    nestingErrno: "EPERM",
  },
  // arm-smmu-v3-iommufd.c:arm_smmu_hw_info
  iommufd: {
    hwptFlags: IOMMU_HWPT_ALLOC_PASID,
    nests: false,
    infoType: IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
    info: () => IommuHwInfoArmSmmuv3.encode({}),
  },
  sysfs: {
    name: "smmu3.0x0000000009050000",
    names: /^smmu3\./,
    attributes: () => [],
    capture: (source) => captureWithoutFacts("arm-smmu-v3", source),
  },
};
