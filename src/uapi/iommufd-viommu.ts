import { alignedU64, array, struct, u32, u64 } from "./layout.ts";

/** Requests of <linux/iommufd.h> about I/O page faults, virtual IOMMUs and their events. */

/** Argument: IommuFaultAlloc. */
export const IOMMU_FAULT_QUEUE_ALLOC = 0x3b8e;
/** Argument: IommuViommuAlloc. */
export const IOMMU_VIOMMU_ALLOC = 0x3b90;
/** Argument: IommuVdeviceAlloc. */
export const IOMMU_VDEVICE_ALLOC = 0x3b91;
/** Argument: IommuVeventqAlloc. */
export const IOMMU_VEVENTQ_ALLOC = 0x3b93;
/** Argument: IommuHwQueueAlloc. */
export const IOMMU_HW_QUEUE_ALLOC = 0x3b94;

/** `pasid` counts. */
export const IOMMU_PGFAULT_FLAGS_PASID_VALID = 1 << 0;
/** The last of its group: the one to respond to. */
export const IOMMU_PGFAULT_FLAGS_LAST_PAGE = 1 << 1;
export const IOMMU_PGFAULT_PERM_READ = 1 << 0;
export const IOMMU_PGFAULT_PERM_WRITE = 1 << 1;
export const IOMMU_PGFAULT_PERM_EXEC = 1 << 2;
export const IOMMU_PGFAULT_PERM_PRIV = 1 << 3;

/**
 * One page request of a device, as it is read from a fault queue. Out: everything; `addr` and `length` in bytes.
 * Source: iommufd.h.
 */
export const IommuHwptPgfault = struct("iommu_hwpt_pgfault", {
  flags: u32,
  dev_id: u32,
  pasid: u32,
  grpid: u32,
  perm: u32,
  __reserved: u32,
  addr: alignedU64,
  length: u32,
  cookie: u32,
});

export const IOMMUFD_PAGE_RESP_SUCCESS = 0;
export const IOMMUFD_PAGE_RESP_INVALID = 1;

/**
 * The answer to a page request, written to a fault queue. In: `cookie` of the request, IOMMUFD_PAGE_RESP_*. Source:
 * iommufd.h.
 */
export const IommuHwptPageResponse = struct("iommu_hwpt_page_response", { cookie: u32, code: u32 });

/**
 * Argument of IOMMU_FAULT_QUEUE_ALLOC. In: flags (0). Out: an object's id, and a descriptor to read requests from.
 * Source: iommufd.h.
 */
export const IommuFaultAlloc = struct("iommu_fault_alloc", {
  size: u32,
  flags: u32,
  out_fault_id: u32,
  out_fault_fd: u32,
});

/** Not a type: never accepted. */
export const IOMMU_VIOMMU_TYPE_DEFAULT = 0;
export const IOMMU_VIOMMU_TYPE_ARM_SMMUV3 = 1;
export const IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV = 2;

/**
 * Argument of IOMMU_VIOMMU_ALLOC. In: a share of the IOMMU behind `dev_id`, over the page table `hwpt_id`. Out: its id.
 * Source: iommufd.h.
 */
export const IommuViommuAlloc = struct("iommu_viommu_alloc", {
  size: u32,
  flags: u32,
  type: u32,
  dev_id: u32,
  hwpt_id: u32,
  out_viommu_id: u32,
  data_len: u32,
  __reserved: u32,
  data_uptr: alignedU64,
});

/**
 * Argument of IOMMU_VDEVICE_ALLOC. In: the number `virt_id` that a guest's IOMMU has for `dev_id`. Out: an id. Source:
 * iommufd.h.
 */
export const IommuVdeviceAlloc = struct("iommu_vdevice_alloc", {
  size: u32,
  viommu_id: u32,
  dev_id: u32,
  out_vdevice_id: u32,
  virt_id: alignedU64,
});

/** Events were lost: there is no body. */
export const IOMMU_VEVENTQ_FLAG_LOST_EVENTS = 1 << 0;

/** Head of each event that is read from an event queue. Out. Source: iommufd.h. */
export const IommufdVeventHeader = struct("iommufd_vevent_header", { flags: u32, sequence: u32 });

/** Not a type: never accepted. */
export const IOMMU_VEVENTQ_TYPE_DEFAULT = 0;
export const IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 = 1;
export const IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV = 2;

/** An event of a virtual Arm SMMUv3: the record of its event queue, little-endian. Out. Source: iommufd.h. */
export const IommuVeventArmSmmuv3 = struct("iommu_vevent_arm_smmuv3", { evt: array(u64, 4) });

/**
 * Argument of IOMMU_VEVENTQ_ALLOC. In: `veventq_depth` events at most (1..2^19). Out: an id and a descriptor. Source:
 * iommufd.h.
 */
export const IommuVeventqAlloc = struct("iommu_veventq_alloc", {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  veventq_depth: u32,
  out_veventq_id: u32,
  out_veventq_fd: u32,
  __reserved: u32,
});

/** Not a type: never accepted. */
export const IOMMU_HW_QUEUE_TYPE_DEFAULT = 0;
export const IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV = 1;

/**
 * Argument of IOMMU_HW_QUEUE_ALLOC. In: a queue of `length` bytes at a guest-physical address. Out: an id. Source:
 * iommufd.h.
 */
export const IommuHwQueueAlloc = struct("iommu_hw_queue_alloc", {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  index: u32,
  out_hw_queue_id: u32,
  nesting_parent_iova: alignedU64,
  length: alignedU64,
});
