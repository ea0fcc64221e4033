import type { Release } from "../kernel/releases.ts";
import type { UnitRegisters } from "./description.ts";
import type { UserFormat } from "./domain.ts";
import type { VirtualIommuKind } from "./virtual-iommu.ts";

/** Bytes of the smallest pages that its tables know. */
export function smallestPage({ pageSizes }: IommuUnit): bigint {
  return pageSizes & -pageSizes;
}

/** What an IOMMU of some architecture can do, as the kernel's driver for it reports. */
export interface IommuUnit {
  /** For messages: "Intel VT-d, 39 address bits". */
  readonly label: string;
  /** Which of several IOMMUs of its kind it is, for kinds whose page tables belong to one of them; else 0. */
  readonly instance: number;
  /** The driver's operations: domains of different drivers are never shared (vfio_iommu_type1.c compares ops). */
  readonly driver: string;
  /** First and last byte that a domain can translate (struct iommu_domain_geometry). */
  readonly apertureStart: bigint;
  readonly apertureLast: bigint;
  /** Bitmap of the page sizes that its tables know. */
  readonly pageSizes: bigint;
  /** Whether it can force non-coherent accesses to be coherent (enforce_cache_coherency). */
  readonly cacheCoherent: boolean;
  /** Whether interrupts from one group cannot be faked by another (iommu_group_has_isolated_msi). */
  readonly isolatedMsi: boolean;
  /** Whether its page tables cannot say "write only", so that devices can also read what was mapped for writing. */
  readonly writeImpliesRead: boolean;
  /** Whether its driver knows nested domains of the old kind, and with which errno enabling them fails if not. */
  readonly nesting: "EINVAL" | "EPERM";
  /**
   * VT-d that has both stages, nests first-stage tables on second-stage ones and knows PASIDs: what its second-stage
   * tables are like. The others have one stage, which is described here.
   */
  readonly secondStage?: IommuUnit;
  /** Its driver refuses domains of user space to devices that firmware uses (regions of type direct): EPERM. */
  readonly refusesDirectRegions: boolean;
  /** What its driver answers to a mapping beyond the aperture; undefined where tables grow to any address. */
  readonly beyondAperture: "EFAULT" | "ERANGE" | undefined;
  /** Its domains take mappings for neither reading nor writing. */
  readonly mapsNoAccess: boolean;
  /** Its driver wants page requests of a device before page tables may report faults. */
  readonly faultsNeedPageRequests: boolean;
  /** It knows PASID tables, which the vSVA proposals bind guests' page tables in. */
  readonly hasPasidTables: boolean;
  /** Its page tables refuse what iommufd asks of them for a mapping that ends with the last byte of 2^64: EINVAL. */
  readonly refusesLastByte: boolean;
  /** An iommufd attaches one device of a group at a time: another one's attach is EINVAL. */
  readonly attachesOneDevice: boolean;
  /** What its driver has for iommufd. */
  readonly iommufd: IommufdFacts;
  /** Its registers, where a capture has them. */
  readonly registers?: UnitRegisters;
  /**
   * Where interrupt messages are written to, for an IOMMU that translates them: an IOVA in the window that the kernel
   * maps doorbells in (IOMMU_RESV_SW_MSI). Absent where messages go around it.
   */
  readonly doorbell?: bigint;
  /** Whether it notes in its page tables which pages devices write (IOMMU_CAP_DIRTY_TRACKING). */
  readonly dirtyTracking: boolean;
}

/** What the kernel's driver has for iommufd, beyond plain page tables. */
export interface IommufdFacts {
  /**
   * Flags that a page table may be made with; undefined where the driver takes none, not even those that only the core
   * looks at.
   */
  readonly hwptFlags: number | undefined;
  /**
   * Flags that only second-stage tables take, of a unit that has both stages. Absent: IOMMU_HWPT_ALLOC_NEST_PARENT and
   * IOMMU_HWPT_ALLOC_DIRTY_TRACKING.
   */
  readonly secondStageFlags?: number;
  /** A page table that others are nested on is made with no other flag. */
  readonly parentsAlone?: true;
  /** Bits of the PASIDs that it takes; absent: as many as a device has. */
  readonly pasidBits?: number;
  /** Whether it nests page tables itself, without a virtual IOMMU. */
  readonly nests: boolean;
  /** The virtual IOMMUs that its driver makes; absent where it has none. */
  readonly virtualIommus?: readonly VirtualIommuKind[];
  /** Whether page tables that others are nested on refuse read-only mappings, in a unit that has both stages. */
  readonly parentsAreWriteable?: boolean;
  /** What a caller can say of a page table over an address space; absent where it can say nothing. */
  readonly pagingData?: UserFormat<(unit: IommuUnit) => IommuUnit>;
  /** Its driver attaches any page table that it has made, whatever the device's unit is like. */
  readonly walksAnyTable?: boolean;
  /** As IommuUnit has them; absent where no release does so. */
  refusesLastByte?(release: Release): boolean;
  attachesOneDevice?(release: Release): boolean;
  /** IOMMU_HW_INFO_TYPE_*, and the structure of that type. */
  readonly infoType: number;
  info(unit: IommuUnit): Uint8Array;
}
