import { struct, u16, u32, u64 } from "../uapi/layout.ts";

/**
 * What messages of vfio-user consist of, in the byte order of the machine. A body that is one of VFIO's own structures
 * (region, interrupt, feature) has its layout in uapi/vfio-device.ts and uapi/vfio-feature.ts.
 */

/** In front of every message. `size` has the header in it; `error` is a positive errno, or 0. */
export const MessageHeader = struct("vfio_user_header", {
  id: u16,
  command: u16,
  size: u32,
  flags: u32,
  error: u32,
});

export const MESSAGE_TYPE_MASK = 0xf;
export const MESSAGE_REPLY = 0x1;
/** Nobody waits for an answer. */
export const MESSAGE_NO_REPLY = 0x10;
export const MESSAGE_ERROR = 0x20;

/** VERSION, both ways. A text of JSON with its NUL follows. */
export const VersionBody = struct("vfio_user_version", { major: u16, minor: u16 });

export const DMA_REGION_READ = 1 << 0;
export const DMA_REGION_WRITE = 1 << 1;
/** libvfio-user's: how it is to use the descriptor. */
export const DMA_REGION_MMAP = 1 << 2;
export const DMA_REGION_FILE_IO = 1 << 3;

/** DMA_MAP. Bytes; `offset` into the descriptor that goes along, else 0. The answer has no body. */
export const DmaMapBody = struct("vfio_user_dma_map", { argsz: u32, flags: u32, offset: u64, address: u64, size: u64 });

export const DMA_UNMAP_DIRTY_BITMAP = 1 << 0;
export const DMA_UNMAP_ALL = 1 << 1;

/** DMA_UNMAP, both ways. With the flag for it a BitmapBody follows. */
export const DmaUnmapBody = struct("vfio_user_dma_unmap", { argsz: u32, flags: u32, address: u64, size: u64 });
export const BitmapBody = struct("vfio_user_bitmap", { pgsize: u64, size: u64 });

/** DEVICE_GET_INFO, both ways: struct vfio_device_info without capabilities. */
export const DeviceInfoBody = struct("vfio_user_device_info", { argsz: u32, flags: u32, regions: u32, irqs: u32 });

/** REGION_READ and REGION_WRITE, both ways; the data follow where there are any. */
export const RegionAccessBody = struct("vfio_user_region_access", { offset: u64, region: u32, count: u32 });

/** DMA_READ and DMA_WRITE, both ways; the data follow where there are any. */
export const DmaAccessBody = struct("vfio_user_dma_region_access", { address: u64, count: u64 });

/** DEVICE_GET_REGION_IO_FDS, both ways. */
export const RegionIoFdsBody = struct("vfio_user_region_io_fds_request", {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

/** MIG_DATA_READ and MIG_DATA_WRITE, both ways; the data follow where there are any. */
export const MigrationDataBody = struct("vfio_user_mig_data", { argsz: u32, size: u32 });

/** Data of DEVICE_FEATURE for VFIO_DEVICE_FEATURE_DMA_LOGGING_START; so many of LoggedRangeBody follow. */
export const LoggingStartBody = struct("vfio_user_device_feature_dma_logging_control", {
  page_size: u64,
  num_ranges: u32,
  reserved: u32,
});
export const LoggedRangeBody = struct("vfio_user_device_feature_dma_logging_range", { iova: u64, length: u64 });

/** The same for VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, both ways. In the answer the bitmap follows. */
export const LoggingReportBody = struct("vfio_user_device_feature_dma_logging_report", {
  iova: u64,
  length: u64,
  page_size: u64,
});

/** REGION_WRITE_MULTI: so many writes follow, 24 bytes each: an access and up to 8 bytes. */
export const WriteMultiBody = struct("vfio_user_write_multi", { count: u64 });
export const WRITE_MULTI_ENTRY = RegionAccessBody.size + 8;

/** The most data of one message, unless the peer says otherwise. */
export const DEFAULT_TRANSFER = 2 ** 20;
