import { alignedU64, s32, struct, u16, u32 } from "./layout.ts";

/**
 * Requests of <linux/iommufd.h> on /dev/iommu: objects and I/O address spaces. Page tables and hardware are in
 * iommufd-hwpt.ts, events and virtual IOMMUs in iommufd-viommu.ts.
 *
 * Every structure begins with `size`, the bytes that the caller's version of it has. Less than a request began with is
 * EINVAL; bytes behind what the kernel knows must be zero (E2BIG). Answers go back into the structure, as much of it as
 * `size` says. Errors that all requests share: ENOTTY unknown request, EOPNOTSUPP a flag or reserved field that the
 * kernel does not know, ENOENT no such object, EFAULT. An object id is a u32 above 0.
 */

/** Argument: IommuDestroy. */
export const IOMMU_DESTROY = 0x3b80;
/** Argument: IommuIoasAlloc. */
export const IOMMU_IOAS_ALLOC = 0x3b81;
/** Argument: IommuIoasAllowIovas. */
export const IOMMU_IOAS_ALLOW_IOVAS = 0x3b82;
/** Argument: IommuIoasCopy. */
export const IOMMU_IOAS_COPY = 0x3b83;
/** Argument: IommuIoasIovaRanges. */
export const IOMMU_IOAS_IOVA_RANGES = 0x3b84;
/** Argument: IommuIoasMap. */
export const IOMMU_IOAS_MAP = 0x3b85;
/** Argument: IommuIoasUnmap. */
export const IOMMU_IOAS_UNMAP = 0x3b86;
/** Argument: IommuOption. */
export const IOMMU_OPTION = 0x3b87;
/** Argument: IommuVfioIoas. */
export const IOMMU_VFIO_IOAS = 0x3b88;
/** Argument: IommuIoasMapFile. */
export const IOMMU_IOAS_MAP_FILE = 0x3b8f;
/** Argument: IommuIoasChangeProcess. */
export const IOMMU_IOAS_CHANGE_PROCESS = 0x3b92;

/** Argument of IOMMU_DESTROY. In: id. EBUSY while something uses the object. Source: iommufd.h. */
export const IommuDestroy = struct("iommu_destroy", { size: u32, id: u32 });

/** Argument of IOMMU_IOAS_ALLOC. In: flags (0). Out: the id of a new, empty address space. Source: iommufd.h. */
export const IommuIoasAlloc = struct("iommu_ioas_alloc", { size: u32, flags: u32, out_ioas_id: u32 });

/** A range of IOVAs. Both ends are in bytes and belong to it. Source: iommufd.h. */
export const IommuIovaRange = struct("iommu_iova_range", { start: alignedU64, last: alignedU64 });

/**
 * Argument of IOMMU_IOAS_IOVA_RANGES. In: `num_iovas`, how many IommuIovaRange there is room for at the address
 * `allowed_iovas`. Out: `num_iovas` ranges that may be mapped, and `out_iova_alignment`, what mappings must be a
 * multiple of in bytes. EMSGSIZE, with `num_iovas` as it should be, when there was less room. Source: iommufd.h.
 */
export const IommuIoasIovaRanges = struct("iommu_ioas_iova_ranges", {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: alignedU64,
  out_iova_alignment: alignedU64,
});

/**
 * Argument of IOMMU_IOAS_ALLOW_IOVAS. In: `num_iovas` IommuIovaRange at the address `allowed_iovas`: where the kernel
 * may choose, and what no device may take away later (its attach fails then). EADDRINUSE when one was taken away
 * already. Source: iommufd.h.
 */
export const IommuIoasAllowIovas = struct("iommu_ioas_allow_iovas", {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: alignedU64,
});

/** `iova` says where; otherwise the kernel chooses and returns it there. For MAP, MAP_FILE and COPY (`dst_iova`). */
export const IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0;
/** Devices may write. */
export const IOMMU_IOAS_MAP_WRITEABLE = 1 << 1;
/** Devices may read. */
export const IOMMU_IOAS_MAP_READABLE = 1 << 2;

/**
 * Argument of IOMMU_IOAS_MAP. In: `length` bytes of the caller's memory from `user_va` on. EINVAL for neither READABLE
 * nor WRITEABLE, a bad alignment, an iova that is reserved; EEXIST for one that is mapped; EOVERFLOW past 2^64; ENOSPC
 * when there is no room to choose. With a device attached also EFAULT and ENOMEM (RLIMIT_MEMLOCK). Source: iommufd.h.
 */
export const IommuIoasMap = struct("iommu_ioas_map", {
  size: u32,
  flags: u32,
  ioas_id: u32,
  __reserved: u32,
  user_va: alignedU64,
  length: alignedU64,
  iova: alignedU64,
});

/**
 * Argument of IOMMU_IOAS_MAP_FILE: as IommuIoasMap, of `length` bytes from `start` in the memfd `fd`. EBADF. Source:
 * iommufd.h.
 */
export const IommuIoasMapFile = struct("iommu_ioas_map_file", {
  size: u32,
  flags: u32,
  ioas_id: u32,
  fd: s32,
  start: alignedU64,
  length: alignedU64,
  iova: alignedU64,
});

/**
 * Argument of IOMMU_IOAS_COPY. In: maps what is mapped in [src_iova, src_iova + length) of one address space in
 * another, or in the same. ENOENT when not all of it is mapped, EPERM when it is not writable and should be. Source:
 * iommufd.h.
 */
export const IommuIoasCopy = struct("iommu_ioas_copy", {
  size: u32,
  flags: u32,
  dst_ioas_id: u32,
  src_ioas_id: u32,
  length: alignedU64,
  dst_iova: alignedU64,
  src_iova: alignedU64,
});

/**
 * Argument of IOMMU_IOAS_UNMAP. In: bytes; 0 and 2^64-1 mean everything. Out: `length` that was unmapped. ENOENT when
 * nothing is there or a mapping would be cut. Source: iommufd.h.
 */
export const IommuIoasUnmap = struct("iommu_ioas_unmap", {
  size: u32,
  ioas_id: u32,
  iova: alignedU64,
  length: alignedU64,
});

/**
 * `val64` 0: what is pinned counts against the user's limit, 1: against the process's, as with VFIO. Without an object
 * id. Needs CAP_SYS_RESOURCE.
 */
export const IOMMU_OPTION_RLIMIT_MODE = 0;
/** `val64` 1: pages are combined to large ones in the IOMMU's tables, 0: never. Of an address space. */
export const IOMMU_OPTION_HUGE_PAGES = 1;

export const IOMMU_OPTION_OP_SET = 0;
export const IOMMU_OPTION_OP_GET = 1;

/**
 * Argument of IOMMU_OPTION. In: `op`; `val64` to SET. Out: `val64` after GET. EBUSY when it can no longer be set.
 * Source: iommufd.h.
 */
export const IommuOption = struct("iommu_option", {
  size: u32,
  option_id: u32,
  op: u16,
  __reserved: u16,
  object_id: u32,
  val64: alignedU64,
});

export const IOMMU_VFIO_IOAS_GET = 0;
export const IOMMU_VFIO_IOAS_SET = 1;
export const IOMMU_VFIO_IOAS_CLEAR = 2;

/**
 * Argument of IOMMU_VFIO_IOAS. In: `op`; `ioas_id` to SET. Out: `ioas_id` after GET: the address space that the
 * requests of a VFIO container mean on this file. ENODEV when the file has not got one. Source: iommufd.h.
 */
export const IommuVfioIoas = struct("iommu_vfio_ioas", { size: u32, ioas_id: u32, op: u16, __reserved: u16 });

/**
 * Argument of IOMMU_IOAS_CHANGE_PROCESS: what is pinned counts as the caller's from now on. EINVAL unless all mappings
 * are of files. Source: iommufd.h.
 */
export const IommuIoasChangeProcess = struct("iommu_ioas_change_process", { size: u32, __reserved: u32 });
