import { array, overlay, struct, u8, u32, u64, union } from "./layout.ts";

/**
 * <linux/iommu.h> of Linux 5.10 to 5.17: what a guest says about its page tables and caches, and what it hears of
 * faults. No request of its own; the structures travel inside VFIO's proposed ones (vsva-v1.ts, vsva-v7.ts). Since 5.10
 * the two that go in begin with `argsz`; iommu-v59.ts has them as they were before.
 */

/**
 * Why a translation failed for good. Out. `addr` is the address that the device used, `fetch_addr` where the walk
 * stopped. Source: iommu.h.
 */
export const IommuFaultUnrecoverable = struct("iommu_fault_unrecoverable", {
  reason: u32,
  flags: u32,
  pasid: u32,
  perm: u32,
  addr: u64,
  fetch_addr: u64,
});

/** A device asks for a page. Out. Answered by IommuPageResponse with the same `pasid` and `grpid`. Source: iommu.h. */
export const IommuFaultPageRequest = struct("iommu_fault_page_request", {
  flags: u32,
  pasid: u32,
  grpid: u32,
  perm: u32,
  addr: u64,
  private_data: array(u64, 2),
});

/** One fault. Out: `type` says which of the two follows. Source: iommu.h. */
export const IommuFault = struct("iommu_fault", {
  type: u32,
  padding: u32,
  event: IommuFaultUnrecoverable,
  prm: overlay("event", IommuFaultPageRequest),
  padding2: overlay("event", array(u8, 56)),
});

/** The answer to a page request. In: `code` 0 success, 1 invalid, 2 failure. Source: iommu.h. */
export const IommuPageResponse = struct("iommu_page_response", {
  argsz: u32,
  version: u32,
  flags: u32,
  pasid: u32,
  grpid: u32,
  code: u32,
});

/** `pasid` counts. */
export const IOMMU_INV_ADDR_FLAGS_PASID = 1 << 0;
/** `archid` counts. */
export const IOMMU_INV_ADDR_FLAGS_ARCHID = 1 << 1;
/** Only last-level entries changed: a hint. */
export const IOMMU_INV_ADDR_FLAGS_LEAF = 1 << 2;

/** What to invalidate by address. In: `nb_granules` pieces of `granule_size` bytes from `addr` on. Source: iommu.h. */
export const IommuInvAddrInfo = struct("iommu_inv_addr_info", {
  flags: u32,
  archid: u32,
  pasid: u64,
  addr: u64,
  granule_size: u64,
  nb_granules: u64,
});

/** `pasid` counts. */
export const IOMMU_INV_PASID_FLAGS_PASID = 1 << 0;
/** `archid` counts. */
export const IOMMU_INV_PASID_FLAGS_ARCHID = 1 << 1;

/** What to invalidate by PASID. In. Source: iommu.h. */
export const IommuInvPasidInfo = struct("iommu_inv_pasid_info", { flags: u32, archid: u32, pasid: u64 });

export const IOMMU_CACHE_INVALIDATE_INFO_VERSION_1 = 1;
/** Bits of `cache`. */
export const IOMMU_CACHE_INV_TYPE_IOTLB = 1 << 0;
export const IOMMU_CACHE_INV_TYPE_DEV_IOTLB = 1 << 1;
export const IOMMU_CACHE_INV_TYPE_PASID = 1 << 2;
/** Values of `granularity`. */
export const IOMMU_INV_GRANU_DOMAIN = 0;
export const IOMMU_INV_GRANU_PASID = 1;
export const IOMMU_INV_GRANU_ADDR = 2;

/**
 * What to invalidate. In: `cache`, one bit or more; `granularity` says which member of `granu` counts, none for the
 * domain. By domain goes with IOTLB and PASID, by PASID with all three, by address with DEV_IOTLB and IOTLB; EINVAL
 * otherwise. Source: iommu.h.
 */
export const IommuCacheInvalidateInfo = struct("iommu_cache_invalidate_info", {
  argsz: u32,
  version: u32,
  cache: u8,
  granularity: u8,
  padding: array(u8, 6),
  granu: union("granu", { pasid_info: IommuInvPasidInfo, addr_info: IommuInvAddrInfo }),
});

/** Supervisor requests are served. */
export const IOMMU_SVA_VTD_GPASID_SRE = 1 << 0;
/** Extended access flags are set. */
export const IOMMU_SVA_VTD_GPASID_EAFE = 1 << 1;
export const IOMMU_SVA_VTD_GPASID_PCD = 1 << 2;
export const IOMMU_SVA_VTD_GPASID_PWT = 1 << 3;
export const IOMMU_SVA_VTD_GPASID_EMTE = 1 << 4;
export const IOMMU_SVA_VTD_GPASID_CD = 1 << 5;
/** Supervisor writes honour the table's R/W. Since 5.10. */
export const IOMMU_SVA_VTD_GPASID_WPE = 1 << 6;

/**
 * What VT-d needs to know beyond the table's address. In: `flags`, IOMMU_SVA_VTD_GPASID_*; memory types. Source:
 * iommu.h.
 */
export const IommuGpasidBindDataVtd = struct("iommu_gpasid_bind_data_vtd", { flags: u64, pat: u32, emt: u32 });

export const IOMMU_GPASID_BIND_VERSION_1 = 1;
export const IOMMU_PASID_FORMAT_INTEL_VTD = 1;
/** `gpasid` counts. */
export const IOMMU_SVA_GPASID_VAL = 1 << 0;

/**
 * A guest's page table for a PASID. In: `gpgd`, the guest-physical address of its root; `addr_width`, 48 or 57;
 * `hpasid`, the PASID that the device uses; `gpasid`, what the guest calls it. Source: iommu.h.
 */
export const IommuGpasidBindData = struct("iommu_gpasid_bind_data", {
  argsz: u32,
  version: u32,
  format: u32,
  addr_width: u32,
  flags: u64,
  gpgd: u64,
  hpasid: u64,
  gpasid: u64,
  padding: array(u8, 8),
  vendor: union("vendor", { vtd: IommuGpasidBindDataVtd }),
});
