/** An IOMMU of a host: what the kernel's driver gives its domains. */
export interface IommuDescription {
  /** The name of a kind (kinds.ts). */
  readonly model: string;
  /** First IOVA byte that a domain translates (struct iommu_domain_geometry.aperture_start). Default 0. */
  readonly apertureStart: bigint;
  /**
   * Last IOVA byte, inclusive (aperture_end). Default: from `address_bits`, else the ranges of a recording, else the
   * kind's.
   */
  readonly apertureLast: bigint;
  /**
   * Bitmap of page sizes in bytes: bit 12 set means 4 KiB pages (struct iommu_domain.pgsize_bitmap). Default: the
   * kind's. 0 without an IOMMU.
   */
  readonly pageSizes: bigint;
  /**
   * Whether the IOMMU can make a device's accesses snoop (enforce_cache_coherency; VFIO_DMA_CC_IOMMU). Default: the
   * kind's.
   */
  readonly cacheCoherent: boolean;
  /**
   * Whether MSIs of one group cannot be forged by another (isolated MSI). Without it VFIO wants
   * allow_unsafe_interrupts. Default: kind and arch.
   */
  readonly interruptRemapping: boolean;
  /**
   * Only for kinds that can (IommuKind.makeNesting), and left out for false: it also has second-stage tables and nests
   * first-stage ones on them, has PASIDs, takes the translations that devices cache (ATS) and their page requests
   * (PRI).
   */
  readonly nesting?: true;
  /**
   * Whether it notes in its tables which pages devices write (IOMMU_HW_CAP_DIRTY_TRACKING); left out where it does not.
   */
  readonly dirtyTracking?: boolean;
  /**
   * Which of the machine's IOMMUs of this kind it is, from 0: left out for the first, and where the kind does not tell
   * (a page table of one cannot be walked by another).
   */
  readonly instance?: number;
  /**
   * ID registers of an Arm SMMUv3; left out for a kind without such, and where nothing but plain page tables is used.
   */
  readonly smmu?: SmmuRegisters;
  /** VT-d's capability registers where a capture has them; made from the facts above where it has not. */
  readonly registers?: UnitRegisters;
  /** Present exactly when the kind is POWER's TCE. */
  readonly spapr?: SpaprDescription;
}

/** The ID registers of an Arm SMMUv3, and what firmware says of the devices behind it. */
export interface SmmuRegisters {
  /** SMMU_IDR0 to SMMU_IDR5. */
  readonly idr: readonly number[];
  /** SMMU_IIDR */
  readonly iidr: number;
  /** SMMU_AIDR */
  readonly aidr: number;
  /** Devices' accesses can always be written back to caches (CANWBS of their root complex in ACPI's IORT). */
  readonly coherentWriteBack: boolean;
}

/** CAP_REG and ECAP_REG as intel-iommu shows them. */
export interface UnitRegisters {
  readonly cap: bigint;
  readonly ecap: bigint;
}

export const SPAPR_PLATFORMS = ["powernv8", "powernv9", "powernv10", "pseries"] as const;
export type SpaprPlatform = (typeof SPAPR_PLATFORMS)[number];

/** What VFIO_IOMMU_SPAPR_TCE_GET_INFO reports (struct vfio_iommu_spapr_tce_info); defaults as recorded per platform. */
export interface SpaprDescription {
  /** powernvN: bare metal POWERN; pseries: a logical partition. Default pseries. */
  readonly platform: SpaprPlatform;
  /** First bus address of the 32-bit window, bytes. Default 0. */
  readonly dma32WindowStart: bigint;
  /** Bytes. Default 2 GiB on powernv, 1 GiB on pseries. */
  readonly dma32WindowSize: bigint;
  /**
   * How many windows a group can have (info.ddw.max_dynamic_windows_supported). 0xffffffff: firmware without dynamic
   * windows.
   */
  readonly maxDynamicWindows: number;
  /** Most levels of a TCE table (info.ddw.levels). */
  readonly levels: number;
}
