import { array, flexible, struct, u8, u16, u32, u64, union } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * The proposal "vfio: expose virtual Shared Virtual Addressing to VMs", v3 to v7 (July to September 2020). Never
 * merged: two numbers are sPAPR's (on another kind of container), and capability 3 became
 * VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL. Requests go to a container of type VFIO_TYPE1_NESTING_IOMMU.
 */

/** Argument: VfioIommuType1PasidRequest. */
export const VFIO_IOMMU_PASID_REQUEST = 0x3b76;
/** Argument: VfioIommuType1NestingOp. */
export const VFIO_IOMMU_NESTING_OP = 0x3b77;

/** Allocates one PASID of the range. */
export const VFIO_IOMMU_FLAG_ALLOC_PASID = 1 << 0;
/** Frees all PASIDs of the range. */
export const VFIO_IOMMU_FLAG_FREE_PASID = 1 << 1;

/**
 * Argument of VFIO_IOMMU_PASID_REQUEST. In: one of the two flags; `range`, both ends included. Returns the PASID for
 * ALLOC, 0 for FREE. EINVAL for both flags or none, or an empty range; ENOSPC when no PASID of the range is free or the
 * quota is used up; ENOTTY on other containers. Source: the proposal.
 */
export const VfioIommuType1PasidRequest = struct("vfio_iommu_type1_pasid_request", {
  argsz: u32,
  flags: u32,
  range: struct("range", { min: u32, max: u32 }),
});

/** The low 16 bits of `flags` say what to do. */
export const VFIO_NESTING_OP_MASK = 0xffff;
/** `data` is an IommuGpasidBindData. */
export const VFIO_IOMMU_NESTING_OP_BIND_PGTBL = 0;
/** `data` is an IommuGpasidBindData, of which `hpasid` counts. Cannot fail for a PASID that is the caller's. */
export const VFIO_IOMMU_NESTING_OP_UNBIND_PGTBL = 1;
/** `data` is an IommuCacheInvalidateInfo. */
export const VFIO_IOMMU_NESTING_OP_CACHE_INVLD = 2;

/** Argument of VFIO_IOMMU_NESTING_OP. In. Source: the proposal. */
export const VfioIommuType1NestingOp = struct("vfio_iommu_type1_nesting_op", {
  argsz: u32,
  flags: u32,
  data: flexible(u8),
});

/** PASIDs are those of the whole system: they are to be allocated with VFIO_IOMMU_PASID_REQUEST. */
export const IOMMU_NESTING_FEAT_SYSWIDE_PASID = 1 << 0;
export const IOMMU_NESTING_FEAT_BIND_PGTBL = 1 << 1;
export const IOMMU_NESTING_FEAT_CACHE_INVLD = 1 << 2;

/** VT-d's registers. Out. There are 4 bytes of padding behind `flags`, as in the proposal. */
export const IommuNestingInfoVtd = struct("iommu_nesting_info_vtd", { flags: u32, cap_reg: u64, ecap_reg: u64 });

/**
 * What the IOMMU can nest. Out: `format` as in IommuGpasidBindData, `addr_width` the widest first-level table,
 * `pasid_bits`. Source: the proposal.
 */
export const IommuNestingInfo = struct("iommu_nesting_info", {
  argsz: u32,
  flags: u32,
  format: u32,
  features: u32,
  addr_width: u16,
  pasid_bits: u16,
  padding: array(u8, 12),
  vendor: union("vendor", { vtd: IommuNestingInfoVtd }),
});

/** Capability of VFIO_IOMMU_GET_INFO; only on nesting containers. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_NESTING = 3;

/** Capability 3, version 1. Out. Source: the proposal. */
export const VfioIommuType1InfoCapNesting = struct("vfio_iommu_type1_info_cap_nesting", {
  header: VfioInfoCapHeader,
  info: IommuNestingInfo,
});
