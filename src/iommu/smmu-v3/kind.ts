import type { Release } from "../../kernel/releases.ts";
import {
  IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
} from "../../uapi/iommufd-hwpt.ts";
import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import type { IommuDescription } from "../description.ts";
import { captureWithoutFacts, type IommuDriverFacts, type IommuKind, PLAIN_DRIVER, type SaidOfIommu } from "../kind.ts";
import { ARM_SOFTWARE_MSI_WINDOW } from "../known-regions.ts";
import type { IommufdFacts, IommuUnit } from "../unit.ts";
import { SmmuIommus } from "./iommus.ts";
import { featuresOf, smmuHwInfo, usualRegisters, withDirtyState } from "./registers.ts";
import { SMMU_VIRTUAL_IOMMU } from "./virtual-iommu.ts";

/** Bits of addresses that stage 1 translates for a kernel with 48 bits of virtual addresses. */
const STAGE_1_BITS = 48;
/** GITS_TRANSLATER: where in the page of an interrupt translation service messages are written to. */
const DOORBELL = 0x40n;

const DRIVER: IommuDriverFacts = {
  ...PLAIN_DRIVER,
  // stage-1 tables have no write-only entries (recorded in dma_writeonly)
  writeImpliesRead: () => true,
  // io-pgtable-arm.c:arm_lpae_map_pages
  beyondAperture: "ERANGE",
  // recorded: without stage 2 it says EPERM to nesting, the others have no such operation (g_nested_type)
  nestingErrno: "EPERM",
  doorbell: ARM_SOFTWARE_MSI_WINDOW.region.start + DOORBELL,
  secondStage,
};

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
  ownKeys: ["hw_info", "canwbs"],
  makeNesting: ({ smmu }) => new SmmuIommus(featuresOf(smmu ?? usualRegisters(true))),
  tracksDirtyPages: "yes",
  needs: "smmuV3Driver",
  driver: DRIVER,
  iommufd: factsOf({}),
  describe,
  contradiction,
  iommufdOf: factsOf,
  sysfs: {
    name: "smmu3.0x0000000009050000",
    names: /^smmu3\./,
    attributes: () => [],
    capture: (source) => captureWithoutFacts("arm-smmu-v3", source),
  },
};

/** What the registers decide (arm-smmu-v3.c:arm_smmu_device_hw_probe). */
function describe(said: SaidOfIommu): Partial<IommuDescription> {
  const registers = said.smmu && { ...said.smmu, coherentWriteBack: said.coherentWriteBack ?? false };
  const isPlain = !registers && !said.nesting && !said.dirtyTracking;
  if (isPlain) return {};
  const usual = { ...usualRegisters(said.nesting ?? false), coherentWriteBack: said.coherentWriteBack ?? true };
  const smmu = registers ?? (said.dirtyTracking ? withDirtyState(usual) : usual);
  const { stage1, stage2, httu, outputBits } = featuresOf(smmu);
  const nesting = said.nesting ?? (stage1 && stage2);
  return {
    smmu,
    apertureLast: said.apertureLast ?? lastOfBits(stage1 ? STAGE_1_BITS : outputBits),
    cacheCoherent: said.cacheCoherent ?? smmu.coherentWriteBack,
    ...(nesting && { nesting }),
    ...(httu === 2 && { dirtyTracking: true }),
  };
}

function contradiction({ smmu, nesting, dirtyTracking }: SaidOfIommu) {
  if (!smmu) return undefined;
  const { stage1, stage2, httu } = featuresOf({ ...smmu, coherentWriteBack: false });
  if (nesting && !(stage1 && stage2)) return ["nesting", "hw_info has not both stages (bits 0 and 1 of IDR0)"] as const;
  if (dirtyTracking && httu !== 2) {
    return ["dirty_tracking", "hw_info has no dirty state by hardware (HTTU, bits 7:6 of IDR0, is not 2)"] as const;
  }
  return undefined;
}

/** arm-smmu-v3.c:arm_smmu_domain_alloc_paging_flags; arm-smmu-v3-iommufd.c:arm_smmu_get_viommu_size */
function factsOf({ smmu, nesting }: Pick<IommuDescription, "smmu" | "nesting">): IommufdFacts {
  const registers = smmu ?? usualRegisters(nesting ?? false);
  const { stage1, substreamBits, forcesWriteBack } = featuresOf(registers);
  const nests = nesting && (registers.coherentWriteBack || forcesWriteBack);
  return {
    hwptFlags: stage1 ? IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0,
    secondStageFlags: IOMMU_HWPT_ALLOC_NEST_PARENT,
    parentsAlone: true,
    pasidBits: substreamBits,
    nests: false,
    ...(nests && { virtualIommus: [SMMU_VIRTUAL_IOMMU] }),
    infoType: IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
    info: () => smmuHwInfo(registers),
  };
}

/**
 * Stage 2 translates as many bits as it puts out, and has write-only entries (io-pgtable-arm.c:arm_lpae_prot_to_pte).
 */
function secondStage(unit: IommuUnit, _release: Release, { smmu }: IommuDescription): IommuUnit {
  const bits = featuresOf(smmu ?? usualRegisters(true)).outputBits;
  return {
    ...unit,
    label: `Arm SMMUv3 (stage 2), ${bits} address bits`,
    apertureLast: lastOfBits(bits),
    writeImpliesRead: false,
  };
}
