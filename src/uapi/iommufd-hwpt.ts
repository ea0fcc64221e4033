import { alignedU64, array, overlay, struct, u8, u32, u64 } from "./layout.ts";

/** Requests of <linux/iommufd.h> about page tables that an IOMMU walks, and about the IOMMU behind a device. */

/** Argument: IommuHwptAlloc. */
export const IOMMU_HWPT_ALLOC = 0x3b89;
/** Argument: IommuHwInfo. */
export const IOMMU_GET_HW_INFO = 0x3b8a;
/** Argument: IommuHwptSetDirtyTracking. */
export const IOMMU_HWPT_SET_DIRTY_TRACKING = 0x3b8b;
/** Argument: IommuHwptGetDirtyBitmap. */
export const IOMMU_HWPT_GET_DIRTY_BITMAP = 0x3b8c;
/** Argument: IommuHwptInvalidate. */
export const IOMMU_HWPT_INVALIDATE = 0x3b8d;

/** Other page tables can be nested on it. */
export const IOMMU_HWPT_ALLOC_NEST_PARENT = 1 << 0;
/** It can track dirty pages. */
export const IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 1 << 1;
/** `fault_id` counts: faults go there. */
export const IOMMU_HWPT_FAULT_ID_VALID = 1 << 2;
/** Devices may be attached to it with a PASID. */
export const IOMMU_HWPT_ALLOC_PASID = 1 << 3;

/** What lies at `data_uptr`: nothing. */
export const IOMMU_HWPT_DATA_NONE = 0;
/** IommuHwptVtdS1. */
export const IOMMU_HWPT_DATA_VTD_S1 = 1;
/** IommuHwptArmSmmuv3. */
export const IOMMU_HWPT_DATA_ARM_SMMUV3 = 2;
/** IommuHwptAmdGuest. */
export const IOMMU_HWPT_DATA_AMD_GUEST = 3;

/**
 * Argument of IOMMU_HWPT_ALLOC. In: a page table for the device `dev_id` over `pt_id`: an address space, or a page
 * table (or virtual IOMMU) to nest on, with `data_len` bytes of `data_type` at `data_uptr`. Out: `out_hwpt_id`. EINVAL
 * for a `pt_id` that is no such thing, EOPNOTSUPP for what the IOMMU cannot. The fields from `fault_id` on came with
 * 6.11. Source: iommufd.h.
 */
export const IommuHwptAlloc = struct("iommu_hwpt_alloc", {
  size: u32,
  flags: u32,
  dev_id: u32,
  pt_id: u32,
  out_hwpt_id: u32,
  __reserved: u32,
  data_type: u32,
  data_len: u32,
  data_uptr: alignedU64,
  fault_id: u32,
  __reserved2: u32,
});

/** Supervisor requests. */
export const IOMMU_VTD_S1_SRE = 1 << 0;
/** Extended access flags. */
export const IOMMU_VTD_S1_EAFE = 1 << 1;
/** Write protection for supervisor requests too. */
export const IOMMU_VTD_S1_WPE = 1 << 2;

/** A VT-d first-stage table. In: `pgtbl_addr`, its guest-physical address; `addr_width` in bits. Source: iommufd.h. */
export const IommuHwptVtdS1 = struct("iommu_hwpt_vtd_s1", {
  flags: alignedU64,
  pgtbl_addr: alignedU64,
  addr_width: u32,
  __reserved: u32,
});

/** An SMMUv3 stream table entry: its first two 64-bit words. Source: iommufd.h. */
export const IommuHwptArmSmmuv3 = struct("iommu_hwpt_arm_smmuv3", { ste: array(u64, 2) });

/** An AMD device table entry, as a guest has it. Source: iommufd.h. */
export const IommuHwptAmdGuest = struct("iommu_hwpt_amd_guest", { dte: array(alignedU64, 4) });

/** Nothing is known. The same number asks for the default. */
export const IOMMU_HW_INFO_TYPE_NONE = 0;
export const IOMMU_HW_INFO_TYPE_DEFAULT = 0;
/** IommuHwInfoVtd. */
export const IOMMU_HW_INFO_TYPE_INTEL_VTD = 1;
/** IommuHwInfoArmSmmuv3. */
export const IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2;
/** NVIDIA's extension of the SMMUv3. */
export const IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV = 3;
/** IommuHwInfoAmd. */
export const IOMMU_HW_INFO_TYPE_AMD = 4;

/** `in_data_type` counts. */
export const IOMMU_HW_INFO_FLAG_INPUT_TYPE = 1 << 0;

/** Bits of `out_capabilities`: it can track dirty pages. */
export const IOMMU_HW_CAP_DIRTY_TRACKING = 1 << 0;
/** The device's PASIDs may ask for execution, and for privileged access. */
export const IOMMU_HW_CAP_PCI_PASID_EXEC = 1 << 1;
export const IOMMU_HW_CAP_PCI_PASID_PRIV = 1 << 2;
/** The device cannot use ATS here. */
export const IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED = 1 << 3;

/**
 * Argument of IOMMU_GET_HW_INFO. In: `dev_id`; `data_len` bytes of room at `data_uptr`, which is filled up with zeros.
 * Out: `data_len` as the kernel has it, `out_data_type` (IOMMU_HW_INFO_TYPE_*), `out_max_pasid_log2` (0: no PASIDs),
 * `out_capabilities`. Source: iommufd.h.
 */
export const IommuHwInfo = struct("iommu_hw_info", {
  size: u32,
  flags: u32,
  dev_id: u32,
  data_len: u32,
  data_uptr: alignedU64,
  out_data_type: u32,
  out_max_pasid_log2: u8,
  __reserved: array(u8, 3),
  out_capabilities: alignedU64,
});

/**
 * The same since 6.17. In: with the flag INPUT_TYPE, `in_data_type` says which kind of data is wanted. Source:
 * iommufd.h.
 */
export const IommuHwInfoV617 = struct("iommu_hw_info_v617", {
  size: u32,
  flags: u32,
  dev_id: u32,
  data_len: u32,
  data_uptr: alignedU64,
  out_data_type: u32,
  in_data_type: overlay("out_data_type", u32),
  out_max_pasid_log2: u8,
  __reserved: array(u8, 3),
  out_capabilities: alignedU64,
});

/** Memory that is read-only at second stage may not be nested on. */
export const IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 = 1 << 0;

/**
 * Out: registers CAP and ECAP of Intel VT-d. Source: iommufd.h; VT-d specification, chapter "Register Descriptions".
 */
export const IommuHwInfoVtd = struct("iommu_hw_info_vtd", {
  flags: u32,
  __reserved: u32,
  cap_reg: alignedU64,
  ecap_reg: alignedU64,
});

/** Out: ID registers of an SMMUv3. Source: iommufd.h. */
export const IommuHwInfoArmSmmuv3 = struct("iommu_hw_info_arm_smmuv3", {
  flags: u32,
  __reserved: u32,
  idr: array(u32, 6),
  iidr: u32,
  aidr: u32,
});

/** Out: AMD-Vi's extended feature registers. Source: iommufd.h. */
export const IommuHwInfoAmd = struct("iommu_hw_info_amd", { efr: alignedU64, efr2: alignedU64 });

/** Flag of IommuHwptSetDirtyTracking: on; without it off. */
export const IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1;

/** Argument of IOMMU_HWPT_SET_DIRTY_TRACKING. EOPNOTSUPP unless the page table was made for it. Source: iommufd.h. */
export const IommuHwptSetDirtyTracking = struct("iommu_hwpt_set_dirty_tracking", {
  size: u32,
  flags: u32,
  hwpt_id: u32,
  __reserved: u32,
});

/** Flag of IommuHwptGetDirtyBitmap: what is reported stays dirty. */
export const IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1;

/**
 * Argument of IOMMU_HWPT_GET_DIRTY_BITMAP. In: a range in bytes, `page_size` of a bit, `data` the address of 64-bit
 * words into which bits are set, bit 0 for the range's first page. EOPNOTSUPP as above, EOVERFLOW, EINVAL for a range
 * that is no multiple of `page_size` and of the IOMMU's pages. Source: iommufd.h.
 */
export const IommuHwptGetDirtyBitmap = struct("iommu_hwpt_get_dirty_bitmap", {
  size: u32,
  hwpt_id: u32,
  flags: u32,
  __reserved: u32,
  iova: alignedU64,
  length: alignedU64,
  page_size: alignedU64,
  data: alignedU64,
});

/** Kinds of invalidation: an array of IommuHwptVtdS1Invalidate; commands of an SMMUv3. */
export const IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 = 0;
export const IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 = 1;

/** Only the last level of the tables has changed. */
export const IOMMU_VTD_INV_FLAGS_LEAF = 1 << 0;

/** One invalidation. In: from `addr` on `npages` pages of 4 KiB; 2^64-1 for everything. Source: iommufd.h. */
export const IommuHwptVtdS1Invalidate = struct("iommu_hwpt_vtd_s1_invalidate", {
  addr: alignedU64,
  npages: alignedU64,
  flags: u32,
  __reserved: u32,
});

/** One command of an SMMUv3's queue. Source: iommufd.h. */
export const IommuViommuArmSmmuv3Invalidate = struct("iommu_viommu_arm_smmuv3_invalidate", { cmd: array(u64, 2) });

/**
 * Argument of IOMMU_HWPT_INVALIDATE. In: `entry_num` entries of `entry_len` bytes at `data_uptr`. Out, also with an
 * error: `entry_num` that were done. EINVAL for an object that is no nested page table or virtual IOMMU. Source:
 * iommufd.h.
 */
export const IommuHwptInvalidate = struct("iommu_hwpt_invalidate", {
  size: u32,
  hwpt_id: u32,
  data_uptr: alignedU64,
  data_type: u32,
  entry_len: u32,
  entry_num: u32,
  __reserved: u32,
});
