import type { Release } from "../../kernel/releases.ts";
import {
  IOMMU_HW_INFO_TYPE_INTEL_VTD,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_PASID,
} from "../../uapi/iommufd-hwpt.ts";
import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import type { IommuDefaults, IommuDriverFacts, IommuKind } from "../kind.ts";
import { X86_MSI_WINDOW } from "../known-regions.ts";
import type { IommufdFacts, IommuUnit } from "../unit.ts";
import { type VtdMode, vtdHwInfo, vtdSysfs } from "./registers.ts";
import { VtdUnits } from "./units.ts";

/** INTEL_IOMMU_PGSIZES: every multiple of 4 KiB, whatever the unit's tables have. */
const CLAIMED_SIZES = 2n ** 64n - 4096n;

/** VT-d's tables have 4 levels on the common hardware. */
const USUAL_BITS = 48;

const PLAIN_DEFAULTS: IommuDefaults = {
  aperture: { start: 0n, last: lastOfBits(USUAL_BITS) },
  lastOfBits,
  bitsOfLast,
  // 4 KiB, 2 MiB, 1 GiB (recorded on intel39 and intelsm)
  pageSizes: () => 0x4020_1000n,
  // the emulated unit says no (recorded); a real one nearly always can, and its description says so
  cacheCoherent: false,
  interruptRemapping: () => true,
  reservedRegions: () => [X86_MSI_WINDOW],
  groupType: "DMA",
  container: "type1",
};

/**
 * First-stage tables are the CPU's, whose addresses are signed: only the lower half is given out
 * (drivers/iommu/intel/iommu.c sets aperture_end from gaw - 1 with use_first_level; recorded: intelsm has 48 bits and
 * ends at 0x7fffffffffff).
 */
const FIRST_STAGE_DEFAULTS: IommuDefaults = {
  ...PLAIN_DEFAULTS,
  aperture: { start: 0n, last: lastOfBits(USUAL_BITS - 1) },
  lastOfBits: (bits) => lastOfBits(bits - 1),
  bitsOfLast: (last) => bitsOfLast(last) + 1,
};

const DRIVER: IommuDriverFacts = {
  claimedPageSizes: (release) => (release.has("reportedPageSizes") ? undefined : CLAIMED_SIZES),
  // second-stage entries can say "write only", but the driver used the read bit as "present" for long (recorded in
  // dma_writeonly)
  writeImpliesRead: (release) => !release.has("writeOnlyDenied"),
  refusesDirectRegions: (release) => release.has("rmrrIneligible"),
  // intel/iommu.c:intel_iommu_map_pages
  beyondAperture: "EFAULT",
  nestingErrno: "EINVAL",
  mapsNoAccess: false,
  faultsNeedPageRequests: true,
  hasPasidTables: false,
};

/** intel/iommu.c:intel_iommu_domain_alloc_paging_flags, intel_iommu_hw_info */
function iommufd(mode: VtdMode, hwptFlags: number, bitsOf: (last: bigint) => number): IommufdFacts {
  return {
    hwptFlags,
    nests: true,
    parentsAreWriteable: true,
    infoType: IOMMU_HW_INFO_TYPE_INTEL_VTD,
    info: (unit) => vtdHwInfo(unit, mode, bitsOf(unit.apertureLast)),
  };
}

const COMMON = { translates: true, usualArch: "x86_64", cpuVendor: "intel", ownKeys: ["vtd_cap", "vtd_ecap"] } as const;

/** Legacy mode, as most machines run it. */
export const vtd: IommuKind = {
  ...COMMON,
  model: "intel-vtd",
  title: "Intel VT-d",
  defaults: PLAIN_DEFAULTS,
  makeNesting: undefined,
  tracksDirtyPages: "yes",
  driver: DRIVER,
  iommufd: iommufd("legacy", IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING, bitsOfLast),
  sysfs: vtdSysfs("legacy", bitsOfLast),
};

/** Scalable mode on a unit that has second-stage tables only: to programs the same, but for what GET_HW_INFO shows. */
export const vtdSecondStage: IommuKind = {
  ...vtd,
  model: "intel-vtd-ss",
  needs: "vtdScalableMode",
  title: "Intel VT-d (second-stage tables)",
  means: (text) => /^intel-vtd\b/.test(text) && /scalable/i.test(text) && /second/i.test(text),
  iommufd: iommufd("second-stage", IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING, bitsOfLast),
  sysfs: vtdSysfs("second-stage", bitsOfLast),
};

/** Scalable mode with first-stage tables. */
export const vtdScalable: IommuKind = {
  ...COMMON,
  model: "intel-vtd-sm",
  needs: "vtdFirstStage",
  title: "Intel VT-d (first-stage tables)",
  means: (text) => /^intel-vtd\b/.test(text) && /scalable/i.test(text) && !/second/i.test(text),
  defaults: FIRST_STAGE_DEFAULTS,
  makeNesting: () => new VtdUnits(),
  nestsForProposals: true,
  // the driver does not use the dirty bits of first-stage tables
  tracksDirtyPages: "when nesting",
  driver: { ...DRIVER, writeImpliesRead: () => true, secondStage, hasPasidTables: true },
  iommufd: iommufd("first-stage", IOMMU_HWPT_ALLOC_PASID, FIRST_STAGE_DEFAULTS.bitsOfLast),
  sysfs: vtdSysfs("first-stage", FIRST_STAGE_DEFAULTS.bitsOfLast),
};

/** Second-stage addresses are not signed: there are twice as many (intel/iommu.c:compute_vasz_lg2_ss). */
function secondStage(unit: IommuUnit, release: Release): IommuUnit {
  const apertureLast = unit.apertureLast * 2n + 1n;
  return {
    ...unit,
    label: `${vtdSecondStage.title}, ${bitsOfLast(apertureLast)} address bits`,
    apertureLast,
    writeImpliesRead: DRIVER.writeImpliesRead(release),
  };
}
