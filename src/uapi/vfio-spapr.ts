import { struct, u32, u64 } from "./layout.ts";

/**
 * Requests of the POWER server IOMMU (sPAPR TCE) in <linux/vfio.h>. They go to a container after VFIO_SET_IOMMU with
 * VFIO_SPAPR_TCE_IOMMU (v1) or VFIO_SPAPR_TCE_v2_IOMMU (v2). Mapping itself uses the type1 structures. Programs of
 * that architecture encode the numbers as 0x2000xxxx (see ioctl.ts). Addresses and sizes are in bytes.
 */

/** Argument: VfioIommuSpaprTceInfo. The number of VFIO_IOMMU_GET_INFO. */
export const VFIO_IOMMU_SPAPR_TCE_GET_INFO = 0x3b70;
/** v1: charges the whole window against RLIMIT_MEMLOCK; nothing can be mapped before. No argument. */
export const VFIO_IOMMU_ENABLE = 0x3b73;
/** v1: the opposite of VFIO_IOMMU_ENABLE. No argument. */
export const VFIO_IOMMU_DISABLE = 0x3b74;
/** v2. Argument: VfioIommuSpaprRegisterMemory. The number of VFIO_IOMMU_DIRTY_PAGES. */
export const VFIO_IOMMU_SPAPR_REGISTER_MEMORY = 0x3b75;
/** v2. Argument: VfioIommuSpaprRegisterMemory. */
export const VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY = 0x3b76;
/** v2. Argument: VfioIommuSpaprTceCreate. */
export const VFIO_IOMMU_SPAPR_TCE_CREATE = 0x3b77;
/** v2. Argument: VfioIommuSpaprTceRemove. */
export const VFIO_IOMMU_SPAPR_TCE_REMOVE = 0x3b78;
/** Argument: VfioEehPeOp. */
export const VFIO_EEH_PE_OP = 0x3b79;

/** `ddw` of VfioIommuSpaprTceInfo is filled in. */
export const VFIO_IOMMU_SPAPR_INFO_DDW = 1 << 0;

/**
 * What dynamic DMA windows can be. Out. `pgsizes`: bitmap of page sizes, bit n is 2^n bytes. `levels`: most table
 * levels that a window may have. Source: vfio.h.
 */
export const VfioIommuSpaprTceDdwInfo = struct("vfio_iommu_spapr_tce_ddw_info", {
  pgsizes: u64,
  max_dynamic_windows_supported: u32,
  levels: u32,
});

/**
 * Argument of VFIO_IOMMU_SPAPR_TCE_GET_INFO. In: argsz, at least 16 (EINVAL). Out: the 32-bit window in bytes of bus
 * address; `ddw` when argsz reaches it and flags says so. Source: vfio.h.
 */
export const VfioIommuSpaprTceInfo = struct("vfio_iommu_spapr_tce_info", {
  argsz: u32,
  flags: u32,
  dma32_window_start: u32,
  dma32_window_size: u32,
  ddw: VfioIommuSpaprTceDdwInfo,
});

/**
 * The error that VFIO_EEH_PE_INJECT_ERR makes. In. `addr` and `mask` select the bus addresses that fail. Source:
 * vfio.h.
 */
export const VfioEehPeErr = struct("vfio_eeh_pe_err", { type: u32, func: u32, addr: u64, mask: u64 });

/**
 * Argument of VFIO_EEH_PE_OP. In: `op`, one of VFIO_EEH_PE_*, and `err` for injection only (argsz need not reach it
 * otherwise). flags must be 0 (EINVAL). VFIO_EEH_PE_GET_STATE returns a VFIO_EEH_PE_STATE_* as the request's value. In
 * the header `err` is the only member of an anonymous union. Source: vfio.h.
 */
export const VfioEehPeOp = struct("vfio_eeh_pe_op", { argsz: u32, flags: u32, op: u32, err: VfioEehPeErr });

export const VFIO_EEH_PE_DISABLE = 0;
export const VFIO_EEH_PE_ENABLE = 1;
/** Let a frozen PE do I/O again. */
export const VFIO_EEH_PE_UNFREEZE_IO = 2;
/** Let a frozen PE do DMA again. */
export const VFIO_EEH_PE_UNFREEZE_DMA = 3;
export const VFIO_EEH_PE_GET_STATE = 4;
export const VFIO_EEH_PE_STATE_NORMAL = 0;
export const VFIO_EEH_PE_STATE_RESET = 1;
/** DMA and I/O are stopped. */
export const VFIO_EEH_PE_STATE_STOPPED = 2;
export const VFIO_EEH_PE_STATE_STOPPED_DMA = 4;
export const VFIO_EEH_PE_STATE_UNAVAIL = 5;
export const VFIO_EEH_PE_RESET_DEACTIVATE = 5;
export const VFIO_EEH_PE_RESET_HOT = 6;
export const VFIO_EEH_PE_RESET_FUNDAMENTAL = 7;
export const VFIO_EEH_PE_CONFIGURE = 8;
export const VFIO_EEH_PE_INJECT_ERR = 9;

/**
 * Argument of VFIO_IOMMU_SPAPR_REGISTER_MEMORY and VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY. In: process memory that may be
 * mapped from now on, page-aligned. flags must be 0 (EINVAL). ENOENT when what is unregistered was not registered with
 * the same address and size. Source: vfio.h, drivers/vfio/vfio_iommu_spapr_tce.c.
 */
export const VfioIommuSpaprRegisterMemory = struct("vfio_iommu_spapr_register_memory", {
  argsz: u32,
  flags: u32,
  vaddr: u64,
  size: u64,
});

/**
 * Argument of VFIO_IOMMU_SPAPR_TCE_CREATE. In: pages of 2^page_shift bytes, `window_size` bytes, a table of `levels`
 * levels. Out: `start_addr`, the bus address where the window begins. Source: vfio.h.
 */
export const VfioIommuSpaprTceCreate = struct("vfio_iommu_spapr_tce_create", {
  argsz: u32,
  flags: u32,
  page_shift: u32,
  __resv1: u32,
  window_size: u64,
  levels: u32,
  __resv2: u32,
  start_addr: u64,
});

/**
 * Argument of VFIO_IOMMU_SPAPR_TCE_REMOVE. In: a bus address in the window, usually its begin. EINVAL when it is in
 * none. Source: vfio.h.
 */
export const VfioIommuSpaprTceRemove = struct("vfio_iommu_spapr_tce_remove", {
  argsz: u32,
  flags: u32,
  start_addr: u64,
});
