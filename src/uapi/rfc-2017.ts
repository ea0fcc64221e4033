import { array, flexible, struct, u8, u16, u32, u64 } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * One request for all that a guest's IOMMU driver wants of the host's: the operation that "[RFC PATCH 7/8] VFIO: Add new IOCTL for IOMMU TLB
 * invalidate propagation" (July 2017) proposed, as its review asked for it. docs/iommu-op.md is the whole of it. Intel's invalidation descriptor
 * is in intel-invalidation.ts.
 */

/** Argument: VfioIommuOperation. _IO(VFIO_TYPE, VFIO_BASE + 24). */
export const VFIO_IOMMU_OP = 0x3b7c;

/** Nothing is done: `data` is filled with a VfioIommuOpProbe. `op` must be 0. */
export const VFIO_IOMMU_OP_FLAG_PROBE = 1 << 0;

/** Values of `op`. */
export const VFIO_IOMMU_OP_BIND_PASID_TABLE = 1;
export const VFIO_IOMMU_OP_BIND_PASID = 2;
export const VFIO_IOMMU_OP_BIND_PAGE_TABLE = 3;
export const VFIO_IOMMU_OP_INVALIDATE = 4;

/** Values of `model`; 0 is none. Hardware whose tables or descriptors differ is a value of its own. */
export const IOMMU_MODEL_INTEL = 1;
export const IOMMU_MODEL_ARM_SMMU = 2;
export const IOMMU_MODEL_AMD = 3;
export const IOMMU_MODEL_SPAPR = 4;
export const IOMMU_MODEL_S390 = 5;

/** Argument of VFIO_IOMMU_OP. In: `argsz` counts everything that is behind, so that `data` has argsz - 16 bytes. `reserved` is 0. */
export const VfioIommuOperation = struct("vfio_iommu_operation", {
  argsz: u32,
  flags: u32,
  op: u32,
  reserved: u32,
  data: flexible(u64),
});

/**
 * What PROBE answers, and the capability after its header. Out: bit n of `ops` is operation n, bit n of `models` model n, bit n of `descriptors`
 * Intel's descriptor type n; `pasid_bits` of PASID.
 */
export const VfioIommuOpProbe = struct("vfio_iommu_op_probe", {
  ops: u32,
  models: u32,
  descriptors: u32,
  pasid_bits: u32,
});

/** Capability of VFIO_IOMMU_GET_INFO, version 1. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_OP = 4;
export const VfioIommuType1InfoCapOp = struct("vfio_iommu_type1_info_cap_op", {
  header: VfioInfoCapHeader,
  support: VfioIommuOpProbe,
});

/** In all three binds: undoes it. Cannot fail once the structure is understood. */
export const IOMMU_BIND_FLAG_UNBIND = 1 << 0;

/** `data` of BIND_PASID_TABLE. In: the guest-physical address of the PASID directory; `length` bytes of vendor data, none for Intel. */
export const IommuPasidTableBind = struct("iommu_pasid_table_bind", {
  model: u32,
  flags: u32,
  table: u64,
  pasid_bits: u32,
  length: u32,
});

/** `data` of BIND_PASID. In: the memory of the calling process is what the PASID reaches. */
export const IommuPasidBind = struct("iommu_pasid_bind", { pasid: u32, flags: u32 });

/** `data` of BIND_PAGE_TABLE. In: the guest-physical address of the root; `length` bytes of vendor data behind it. */
export const IommuPageTableBind = struct("iommu_page_table_bind", {
  model: u32,
  flags: u32,
  table: u64,
  pasid: u32,
  addr_width: u32,
  length: u32,
  reserved: u32,
  data: flexible(u64),
});

/** Intel's vendor data of BIND_PAGE_TABLE. In: IOMMU_SVA_VTD_GPASID_* as in iommu-v510.ts. */
export const IntelPageTableData = struct("intel_page_table_data", { flags: u64 });

/** Values of `scope`: only what belongs to `pasid`. */
export const IOMMU_INVALIDATE_PASID = 1 << 0;
/** Only the addresses `vaddr`..`vaddr + size`. Goes with PASID, or with NO_PASID. */
export const IOMMU_INVALIDATE_VADDR = 1 << 1;

/** Values of `flags`: mappings of requests without a PASID. Excludes IOMMU_INVALIDATE_PASID. */
export const IOMMU_INVALIDATE_NO_PASID = 1 << 0;
/** A hint: only last-level entries changed. Needs IOMMU_INVALIDATE_VADDR. */
export const IOMMU_INVALIDATE_VADDR_LEAF = 1 << 1;
/** The vendor data is a descriptor of the hardware, which says everything: scope, other flags, pasid, vaddr and size are 0. */
export const IOMMU_INVALIDATE_DESCRIPTOR = 1 << 2;

/** `data` of INVALIDATE. In: `length` bytes of vendor data behind it. */
export const IommuTlbInvalidate = struct("iommu_tlb_invalidate", {
  model: u32,
  scope: u32,
  flags: u32,
  pasid: u32,
  vaddr: u64,
  size: u64,
  length: u32,
  reserved: u32,
  data: flexible(u64),
});

/** Intel's vendor data with IOMMU_INVALIDATE_DESCRIPTOR: the 128 bits of DESCRIPTORS in intel-invalidation.ts. */
export const IntelIommuInvalidateData = struct("intel_iommu_invalidate_data", { low: u64, high: u64 });

/** Global pages too. */
export const INTEL_INVALIDATE_GLOBAL_HINT = 1 << 0;
export const INTEL_INVALIDATE_DRAIN_READ = 1 << 1;
export const INTEL_INVALIDATE_DRAIN_WRITE = 1 << 2;

/**
 * Intel's vendor data without a descriptor: what its descriptors have beyond the generic fields. In: `source_id`, the device whose TLB is meant,
 * 0 for all of the container's; `pfsid` its physical function or 0; `max_pending` as the device says; `caches` as IOMMU_CACHE_INV_TYPE_*, 0 for
 * what the scope implies.
 */
export const IntelIommuInvalidateHints = struct("intel_iommu_invalidate_hints", {
  hints: u32,
  source_id: u16,
  pfsid: u16,
  max_pending: u8,
  caches: u8,
  reserved: array(u8, 6),
});
