import { IommuCacheInvalidateInfoV59 } from "./iommu-v59.ts";
import { IommuCacheInvalidateInfo } from "./iommu-v510.ts";
import { flexible, overlay, struct, u8, u32 } from "./layout.ts";

/**
 * The proposal "vfio: expose virtual Shared Virtual Addressing to VMs", v1 (22 March 2020), whose review is where the
 * rules of vfio/nesting/ come from. Never merged. Requests go to a container of type VFIO_TYPE1_NESTING_IOMMU.
 */

/** Argument: VfioIommuType1PasidRequestV1. */
export const VFIO_IOMMU_PASID_REQUEST = 0x3b7a;
/** Argument: VfioIommuType1Bind. */
export const VFIO_IOMMU_BIND = 0x3b7b;
/** Argument: VfioIommuType1CacheInvalidate. */
export const VFIO_IOMMU_CACHE_INVALIDATE = 0x3b7c;

export const VFIO_IOMMU_PASID_ALLOC = 1 << 0;
export const VFIO_IOMMU_PASID_FREE = 1 << 1;

/**
 * Argument of VFIO_IOMMU_PASID_REQUEST. In: one of the two flags; with ALLOC the range `min`..`max`, both included,
 * with FREE the PASID in `free_pasid`. Out: `result`, the PASID. EINVAL for both flags or none, an empty range or a
 * PASID that is not the caller's; ENOSPC when none of the range is free or the quota is used up. Source: the proposal.
 */
export const VfioIommuType1PasidRequestV1 = struct("vfio_iommu_type1_pasid_request_v1", {
  argsz: u32,
  flags: u32,
  min: u32,
  max: u32,
  result: u32,
  free_pasid: overlay("min", u32),
});

export const VFIO_IOMMU_BIND_GUEST_PGTBL = 1 << 0;
export const VFIO_IOMMU_UNBIND_GUEST_PGTBL = 1 << 1;

/**
 * Argument of VFIO_IOMMU_BIND. In: one flag; `data` is a struct iommu_gpasid_bind_data of the release. Source: the
 * proposal.
 */
export const VfioIommuType1Bind = struct("vfio_iommu_type1_bind", { argsz: u32, flags: u32, data: flexible(u8) });

/** Argument of VFIO_IOMMU_CACHE_INVALIDATE since 5.10. In: `flags` 0. Source: the proposal. */
export const VfioIommuType1CacheInvalidate = struct("vfio_iommu_type1_cache_invalidate", {
  argsz: u32,
  flags: u32,
  cache_info: IommuCacheInvalidateInfo,
});

/** The same with the structure of 5.8 and 5.9. */
export const VfioIommuType1CacheInvalidateV59 = struct("vfio_iommu_type1_cache_invalidate_v59", {
  argsz: u32,
  flags: u32,
  cache_info: IommuCacheInvalidateInfoV59,
});
