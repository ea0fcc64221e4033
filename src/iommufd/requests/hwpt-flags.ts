import type { Release } from "../../kernel/releases.ts";
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_FAULT_ID_VALID,
} from "../../uapi/iommufd-hwpt.ts";

/**
 * The flags that a release's core knows for a page table over an address space
 * (hw_pagetable.c:iommufd_hwpt_paging_alloc).
 */
export function pagingFlags(release: Release): number {
  let known = 0;
  if (release.has("hwptDirtyTracking")) known |= IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
  if (release.has("hwptFaultFlag")) known |= IOMMU_HWPT_FAULT_ID_VALID;
  if (release.has("hwptPasidFlag")) known |= IOMMU_HWPT_ALLOC_PASID;
  return known;
}

/** The same for one over another page table (hw_pagetable.c:iommufd_hwpt_nested_alloc). */
export function nestedFlags(release: Release): number {
  const fault = release.has("iommuFaultQueue") ? IOMMU_HWPT_FAULT_ID_VALID : 0;
  return fault | (release.has("hwptPasidFlag") ? IOMMU_HWPT_ALLOC_PASID : 0);
}
