import { array, flexible, struct, u8, u16, u32, u64 } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * One request for all that a guest's IOMMU driver wants of the host's: the operation that "[RFC PATCH 7/8] VFIO: Add
 * new IOCTL for IOMMU TLB invalidate propagation" (July 2017) proposed, as its review asked for it. docs/iommu-op.md is
 * the whole of it. Intel's invalidation descriptor is in intel-invalidation.ts.
 */

/** Argument: VfioIommuOperation. _IO(VFIO_TYPE, VFIO_BASE + 24). */
export const VFIO_IOMMU_OP = 0x3b7c;

/** Nothing is done: `data` is filled with a VfioIommuOpProbe and what it points to. `op` must be 0. */
export const VFIO_IOMMU_OP_FLAG_PROBE = 1 << 0;

/** Values of `op`. */
export const VFIO_IOMMU_OP_BIND_PASID_TABLE = 1;
export const VFIO_IOMMU_OP_BIND_PASID = 2;
export const VFIO_IOMMU_OP_BIND_PAGE_TABLE = 3;
export const VFIO_IOMMU_OP_INVALIDATE = 4;

/**
 * Values of `model`; 0 means no model. Hardware whose tables or descriptors differ is a value of its own, given out
 * when somebody needs it.
 */
export const IOMMU_MODEL_INTEL = 1;

/**
 * Argument of VFIO_IOMMU_OP. In: `argsz` counts everything that is behind, so that `data` has argsz - 16 bytes.
 * `reserved` is 0.
 */
export const VfioIommuOperation = struct("vfio_iommu_operation", {
  argsz: u32,
  flags: u32,
  op: u32,
  reserved: u32,
  data: flexible(u64),
});

/**
 * What PROBE answers, and the capability after its header. Out: bit n of `ops` is operation n, bit n of `models` model
 * n, `pasid_bits` of PASID; bit n of `descriptors` Intel's descriptor type n, which IntelIommuOpSupport has too. The
 * first answer ended there. `size` is that of the whole answer in bytes; offsets count from its start. There are
 * `model_count` VfioIommuOpModel, each as long as its own `size`, and `device_count` VfioIommuOpDevice, `device_size`
 * bytes each.
 */
export const VfioIommuOpProbe = struct("vfio_iommu_op_probe", {
  ops: u32,
  models: u32,
  descriptors: u32,
  pasid_bits: u32,
  size: u32,
  model_offset: u32,
  model_count: u32,
  device_offset: u32,
  device_count: u32,
  device_size: u32,
});

/**
 * Values of `page_table_format`: tables of the processor with 4 or 5 levels (Intel SDM volume 3, "4-Level Paging and
 * 5-Level Paging").
 */
export const IOMMU_PAGE_TABLE_X86 = 1;
/** Values of `pasid_table_format`: directory and tables of VT-d's scalable mode; 0 when no table can be bound. */
export const IOMMU_PASID_TABLE_VTD_SCALABLE = 1;

/**
 * One model in PROBE's answer. Out: bit n of `ops` is operation n with this model, bit n of `addr_widths` an
 * `addr_width` of n, bit n of `page_sizes` pages of 2^n bytes; `length` bytes of vendor data behind it, which `size`
 * counts.
 */
export const VfioIommuOpModel = struct("vfio_iommu_op_model", {
  model: u32,
  size: u32,
  ops: u32,
  length: u32,
  addr_widths: u64,
  page_sizes: u64,
  page_table_format: u32,
  pasid_table_format: u32,
  data: flexible(u64),
});

/**
 * Intel's vendor data in PROBE's answer. Out: what VfioIommuOpModel does not say. `page_table_flags` that
 * IntelPageTableData takes; bit n of `descriptors` is type n, `max_descriptors` in one request; the `hints` and
 * `caches` that IntelIommuInvalidateHints takes.
 */
export const IntelIommuOpSupport = struct("intel_iommu_op_support", {
  page_table_flags: u64,
  descriptors: u32,
  max_descriptors: u32,
  hints: u32,
  caches: u32,
});

/** The requester is a parent that several mediated devices share. */
export const IOMMU_OP_DEVICE_SHARED = 1 << 0;

/**
 * One device of the container in PROBE's answer. Out: the IOMMU `group` that brought it, as in /dev/vfio/; PCI
 * `segment` and `source_id` (bus 15-8, device 7-3, function 2-0) of what makes its requests: itself, or the parent of a
 * mediated device.
 */
export const VfioIommuOpDevice = struct("vfio_iommu_op_device", {
  group: u32,
  segment: u32,
  flags: u32,
  source_id: u16,
  reserved: u16,
});

/** Capability of VFIO_IOMMU_GET_INFO, version 1: PROBE's answer. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_OP = 4;
export const VfioIommuType1InfoCapOp = struct("vfio_iommu_type1_info_cap_op", {
  header: VfioInfoCapHeader,
  support: VfioIommuOpProbe,
});

/** In all three binds: undoes it. Cannot fail once the structure is understood. */
export const IOMMU_BIND_FLAG_UNBIND = 1 << 0;

/**
 * `data` of BIND_PASID_TABLE. In: the guest-physical address of the PASID directory; `length` bytes of vendor data,
 * none for Intel.
 */
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
/**
 * The vendor data alone says what is meant: scope, other flags, pasid, vaddr and size are 0. What the data are is the
 * model's matter.
 */
export const IOMMU_INVALIDATE_VENDOR = 1 << 2;

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

/**
 * Intel's vendor data with IOMMU_INVALIDATE_VENDOR: one or more of these, the 128 bits of DESCRIPTORS in
 * intel-invalidation.ts.
 */
export const IntelIommuInvalidateData = struct("intel_iommu_invalidate_data", { low: u64, high: u64 });

/** Global pages too. */
export const INTEL_INVALIDATE_GLOBAL_HINT = 1 << 0;
export const INTEL_INVALIDATE_DRAIN_READ = 1 << 1;
export const INTEL_INVALIDATE_DRAIN_WRITE = 1 << 2;

/**
 * Intel's vendor data without IOMMU_INVALIDATE_VENDOR: what its descriptors have beyond the generic fields. In:
 * `source_id`, the device whose TLB is meant, 0 for all of the container's; `pfsid` its physical function or 0;
 * `max_pending` as the device says; `caches` as IOMMU_CACHE_INV_TYPE_*, 0 for what the scope implies.
 */
export const IntelIommuInvalidateHints = struct("intel_iommu_invalidate_hints", {
  hints: u32,
  source_id: u16,
  pfsid: u16,
  max_pending: u8,
  caches: u8,
  reserved: array(u8, 6),
});
