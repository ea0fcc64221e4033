import type { IommuUnit } from "../../iommu/unit.ts";
import { AMD_DIRTY_EFR, VTD_DIRTY_ECAP } from "../../machine/dirty-tracking.ts";
import { VTD_NESTING_CAP, VTD_NESTING_ECAP } from "../../machine/vtd-nesting-registers.ts";
import {
  IOMMU_HW_INFO_TYPE_AMD,
  IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
  IOMMU_HW_INFO_TYPE_INTEL_VTD,
  IOMMU_HW_INFO_TYPE_NONE,
  IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IommuHwInfoAmd,
  IommuHwInfoArmSmmuv3,
  IommuHwInfoVtd,
} from "../../uapi/iommufd-hwpt.ts";

/** What the kernel's driver for an IOMMU has for iommufd, beyond plain page tables. */
export interface IommufdDriver {
  /** Flags that a page table may be made with; undefined where the driver takes none, not even those that only the core looks at. */
  readonly hwptFlags: number | undefined;
  /** Whether it nests page tables itself, without a virtual IOMMU. */
  readonly nests: boolean;
  /** Whether it has virtual IOMMUs. */
  readonly virtualIommus: boolean;
  readonly infoType: number;
  info(unit: IommuUnit): Uint8Array;
}

const PLAIN: IommufdDriver = {
  hwptFlags: undefined,
  nests: false,
  virtualIommus: false,
  infoType: IOMMU_HW_INFO_TYPE_NONE,
  info: () => new Uint8Array(0),
};

/**
 * By IommuUnit.driver. The hardware is the usual kind without nested translation and dirty tracking, as all machines are that calls were
 * recorded on (fd_hwpt_alloc, fd_hwpt_nested, fd_hw_info).
 */
const DRIVERS: Readonly<Record<string, IommufdDriver>> = {
  // intel/iommu.c:intel_iommu_domain_alloc_paging_flags, intel_iommu_hw_info
  "intel-vtd": {
    hwptFlags: IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
    nests: true,
    virtualIommus: false,
    infoType: IOMMU_HW_INFO_TYPE_INTEL_VTD,
    info: (unit) => vtdInfo(unit, false),
  },
  "intel-vtd-sm": {
    hwptFlags: IOMMU_HWPT_ALLOC_PASID,
    nests: true,
    virtualIommus: false,
    infoType: IOMMU_HW_INFO_TYPE_INTEL_VTD,
    info: (unit) => vtdInfo(unit, true),
  },
  // amd/iommu.c:amd_iommu_domain_alloc_paging_flags, amd/iommufd.c. PASIDs need the second kind of page table.
  "amd-vi": {
    hwptFlags: IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
    nests: false,
    virtualIommus: true,
    infoType: IOMMU_HW_INFO_TYPE_AMD,
    info: (unit) => IommuHwInfoAmd.encode({ efr: AMD_FEATURES | (unit.dirtyTracking ? AMD_DIRTY_EFR : 0n) }),
  },
  // arm-smmu-v3-iommufd.c:arm_smmu_hw_info
  "arm-smmu-v3": {
    hwptFlags: IOMMU_HWPT_ALLOC_PASID,
    nests: false,
    virtualIommus: false,
    infoType: IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
    info: () => IommuHwInfoArmSmmuv3.encode({}),
  },
};

export function driverOf(unit: IommuUnit): IommufdDriver {
  return DRIVERS[unit.driver] ?? PLAIN;
}

/** Flags beyond those of the driver that a unit takes because it has second-stage tables too. */
export function secondStageFlags(unit: IommuUnit): number {
  return unit.secondStage ? IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0;
}

/**
 * AMD-Vi's extended feature register as QEMU has it: prefetch, page requests, guest translation, invalidation of everything, guest APIC, error
 * registers, six levels of either table (AMD I/O Virtualization specification, MMIO offset 0030h).
 */
const AMD_FEATURES = 0x29d3n;

// Fields of VT-d's capability registers (VT-d specification, "Capability Register" and "Extended Capability Register").

/** 64 K domain ids, fault registers at 0x220, pages of 2 MiB and 1 GiB, selective invalidation of up to 2^18 pages, drains reads and writes. */
const VTD_CAP = 0xd2_008c_2200_0086n;
/** First-stage tables may have pages of 1 GiB. */
const VTD_CAP_FS1GP = 1n << 56n;
/** Queued invalidation, interrupt remapping, pass-through, registers at 0xf0. */
const VTD_ECAP = 0xf0_0f4an;
const VTD_ECAP_SNOOP_CONTROL = 1n << 7n;
const VTD_ECAP_SCALABLE_MODE = 1n << 43n;
const VTD_ECAP_FIRST_STAGE = 1n << 47n;
/** Widths that second-stage tables come in, and their bit in CAP.SAGAW. */
const VTD_WIDTHS: readonly (readonly [bits: number, flag: bigint])[] = [
  [39, 1n << 9n],
  [48, 1n << 10n],
  [57, 1n << 11n],
];

/** Registers of a VT-d whose tables have the unit's width; otherwise as QEMU's has them (recorded on intel39 and intelsm). */
function vtdInfo(unit: IommuUnit, scalable: boolean): Uint8Array {
  const lastBits = unit.apertureLast.toString(2).length;
  // first-stage tables give out the lower half of their addresses only
  const bits = scalable ? lastBits + 1 : lastBits;
  let cap = VTD_CAP | (BigInt(bits - 1) << 16n) | (scalable ? VTD_CAP_FS1GP : 0n);
  if (unit.secondStage) cap |= VTD_NESTING_CAP;
  for (const [width, flag] of VTD_WIDTHS) if (width <= bits) cap |= flag;
  const ecap =
    VTD_ECAP |
    (unit.cacheCoherent ? VTD_ECAP_SNOOP_CONTROL : 0n) |
    (unit.dirtyTracking ? VTD_DIRTY_ECAP : 0n) |
    (scalable ? VTD_ECAP_SCALABLE_MODE | VTD_ECAP_FIRST_STAGE : 0n) |
    (unit.secondStage ? VTD_NESTING_ECAP : 0n);
  return IommuHwInfoVtd.encode({ flags: IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, cap_reg: cap, ecap_reg: ecap });
}
