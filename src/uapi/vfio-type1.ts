import { alignedU64, flexible, pointer, struct, u8, u32, u64 } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * Type1 IOMMU requests of <linux/vfio.h>. They go to a container after VFIO_SET_IOMMU. Addresses and sizes are in
 * bytes; they must be multiples of the smallest page size in `iova_pgsizes`.
 */

/** Argument: VfioIommuType1Info. */
export const VFIO_IOMMU_GET_INFO = 0x3b70;
/** Argument: VfioIommuType1DmaMap. sPAPR containers take it too. */
export const VFIO_IOMMU_MAP_DMA = 0x3b71;
/** Argument: VfioIommuType1DmaUnmap. sPAPR containers take it too. */
export const VFIO_IOMMU_UNMAP_DMA = 0x3b72;
/** Argument: VfioIommuType1DirtyBitmap. The number is VFIO_IOMMU_SPAPR_REGISTER_MEMORY on a sPAPR container. */
export const VFIO_IOMMU_DIRTY_PAGES = 0x3b75;

/** `iova_pgsizes` is filled in. */
export const VFIO_IOMMU_INFO_PGSIZES = 1 << 0;
/** The kernel has capabilities to tell; `cap_offset` is 0 when argsz left no room for them. */
export const VFIO_IOMMU_INFO_CAPS = 1 << 1;

/**
 * Argument of VFIO_IOMMU_GET_INFO. In: argsz, at least 16 (EINVAL). Out: everything. `iova_pgsizes` is a bitmap in
 * which bit n stands for pages of 2^n bytes. `cap_offset` counts from the start of the structure. When the capabilities
 * do not fit, argsz comes back as the size that would do and the request succeeds all the same. Source: vfio.h,
 * drivers/vfio/vfio_iommu_type1.c:vfio_iommu_type1_get_info().
 */
export const VfioIommuType1Info = struct("vfio_iommu_type1_info", {
  argsz: u32,
  flags: u32,
  iova_pgsizes: alignedU64,
  cap_offset: u32,
  pad: u32,
});

/**
 * Capability: the IOVA ranges that may be mapped. Since 5.4; absent while no range is known (mediated devices only).
 */
export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
/** Capability: dirty page tracking is there. Since 5.8. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
/** Capability: how many mappings may still be made. Since 5.10. */
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;

/** One range of VfioIommuType1InfoCapIovaRange. Out. Both ends are in bytes and belong to the range. Source: vfio.h. */
export const VfioIovaRange = struct("vfio_iova_range", { start: u64, end: u64 });

/**
 * Capability 1, version 1. Out: `nr_iovas` ranges, ascending, without overlap. What lies outside them cannot be mapped:
 * beyond the IOMMU's aperture, or reserved. Source: vfio.h.
 */
export const VfioIommuType1InfoCapIovaRange = struct("vfio_iommu_type1_info_cap_iova_range", {
  header: VfioInfoCapHeader,
  nr_iovas: u32,
  reserved: u32,
  iova_ranges: flexible(VfioIovaRange),
});

/**
 * Capability 2, version 1. Out: `pgsize_bitmap`, the page sizes that a dirty bitmap may be asked for in (bit n is 2^n
 * bytes; type1 offers only the smallest), and `max_dirty_bitmap_size`, the bytes that one bitmap may have. Source:
 * vfio.h.
 */
export const VfioIommuType1InfoCapMigration = struct("vfio_iommu_type1_info_cap_migration", {
  header: VfioInfoCapHeader,
  flags: u32,
  pgsize_bitmap: u64,
  max_dirty_bitmap_size: u64,
});

/**
 * Capability 3, version 1. Out: `avail`, how many VFIO_IOMMU_MAP_DMA may still succeed (module parameter
 * dma_entry_limit less the mappings there are). Its 12 bytes leave what follows misaligned before 6.6. Source: vfio.h.
 */
export const VfioIommuType1InfoDmaAvail = struct("vfio_iommu_type1_info_dma_avail", {
  header: VfioInfoCapHeader,
  avail: u32,
});

/** The device may read. */
export const VFIO_DMA_MAP_FLAG_READ = 1 << 0;
/** The device may write. */
export const VFIO_DMA_MAP_FLAG_WRITE = 1 << 1;
/** Gives an existing mapping a new `vaddr`; excludes READ and WRITE. */
export const VFIO_DMA_MAP_FLAG_VADDR = 1 << 2;

/**
 * Argument of VFIO_IOMMU_MAP_DMA. In: makes `size` bytes of memory at the process address `vaddr` visible to the
 * devices at `iova`. EINVAL for a bad argument or a range outside the valid ones, EEXIST for an overlap with a mapping,
 * ENOSPC when no mapping is left, ENOMEM at RLIMIT_MEMLOCK, EFAULT when the memory is not there. Source: vfio.h,
 * drivers/vfio/vfio_iommu_type1.c:vfio_dma_do_map().
 */
export const VfioIommuType1DmaMap = struct("vfio_iommu_type1_dma_map", {
  argsz: u32,
  flags: u32,
  vaddr: u64,
  iova: u64,
  size: u64,
});

/**
 * Where a dirty bitmap goes. In: `pgsize`, bytes that one bit stands for; `size`, bytes of the bitmap, a multiple of 8;
 * `data`, its address. The kernel sets bits there and never clears one. Source: vfio.h.
 */
export const VfioBitmap = struct("vfio_bitmap", { pgsize: u64, size: u64, data: pointer("__u64") });

/** Report the dirty pages of what is unmapped; a VfioBitmap stands in `data`. */
export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1 << 0;
/** Unmap everything; iova and size must be 0. */
export const VFIO_DMA_UNMAP_FLAG_ALL = 1 << 1;
/** Only forget the process addresses; the mappings stay. */
export const VFIO_DMA_UNMAP_FLAG_VADDR = 1 << 2;

/**
 * Argument of VFIO_IOMMU_UNMAP_DMA. In: the range. Out: `size`, the bytes that were unmapped, which can be fewer (0
 * too) or more than asked for; written only on success. EINVAL when the range would bisect a mapping of a v2 container.
 * Source: vfio.h, drivers/vfio/vfio_iommu_type1.c:vfio_dma_do_unmap().
 */
export const VfioIommuType1DmaUnmap = struct("vfio_iommu_type1_dma_unmap", {
  argsz: u32,
  flags: u32,
  iova: u64,
  size: u64,
  data: flexible(u8),
});

/** Start logging: everything that is mapped counts as dirty. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1 << 0;
/** Stop logging. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 1 << 1;
/** Report the dirty pages of a range and count them clean; a VfioIommuType1DirtyBitmapGet stands in `data`. */
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 1 << 2;

/**
 * Argument of VFIO_IOMMU_DIRTY_PAGES. In: exactly one flag, else EINVAL. EACCES on a container that is not v2. Source:
 * vfio.h, drivers/vfio/vfio_iommu_type1.c:vfio_iommu_type1_dirty_pages().
 */
export const VfioIommuType1DirtyBitmap = struct("vfio_iommu_type1_dirty_bitmap", {
  argsz: u32,
  flags: u32,
  data: flexible(u8),
});

/**
 * Behind VfioIommuType1DirtyBitmap with GET_BITMAP. In: the range in bytes and the place for its bitmap. EINVAL unless
 * the page size is the smallest, the range is aligned to it and logging is on. Source: vfio.h.
 */
export const VfioIommuType1DirtyBitmapGet = struct("vfio_iommu_type1_dirty_bitmap_get", {
  iova: u64,
  size: u64,
  bitmap: VfioBitmap,
});
