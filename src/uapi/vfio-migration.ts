import { alignedU64, s32, struct, u32 } from "./layout.ts";

/**
 * Device migration and DMA logging of <linux/vfio.h>: data of the VFIO_DEVICE_FEATURE ids in vfio-feature.ts, the
 * request of the migration data file, and the migration region that they replaced in 5.18.
 */

/** Argument: VfioPrecopyInfo. On a migration data file; the number is VFIO_EEH_PE_OP on a sPAPR container. */
export const VFIO_MIG_GET_PRECOPY_INFO = 0x3b79;

/** The states STOP, STOP_COPY and RESUMING are there. */
export const VFIO_MIGRATION_STOP_COPY = 1 << 0;
/** RUNNING_P2P is there. */
export const VFIO_MIGRATION_P2P = 1 << 1;
/** PRE_COPY is there, with P2P also PRE_COPY_P2P. */
export const VFIO_MIGRATION_PRE_COPY = 1 << 2;

/** Data of VFIO_DEVICE_FEATURE_MIGRATION. Out: VFIO_MIGRATION_*, which states the device knows. Source: vfio.h. */
export const VfioDeviceFeatureMigration = struct("vfio_device_feature_migration", { flags: alignedU64 });

// States of a device (enum vfio_device_mig_state).
export const VFIO_DEVICE_STATE_ERROR = 0;
export const VFIO_DEVICE_STATE_STOP = 1;
export const VFIO_DEVICE_STATE_RUNNING = 2;
export const VFIO_DEVICE_STATE_STOP_COPY = 3;
export const VFIO_DEVICE_STATE_RESUMING = 4;
export const VFIO_DEVICE_STATE_RUNNING_P2P = 5;
export const VFIO_DEVICE_STATE_PRE_COPY = 6;
export const VFIO_DEVICE_STATE_PRE_COPY_P2P = 7;

/**
 * Data of VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE. SET, in: the state to go to. Out: `data_fd`, the file of the transfer
 * that this began, or -1. GET, out: the state that it is in. Source: vfio.h.
 */
export const VfioDeviceFeatureMigState = struct("vfio_device_feature_mig_state", { device_state: u32, data_fd: s32 });

/** There is new initial data. Only after VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 was set. */
export const VFIO_PRECOPY_INFO_REINIT = 1 << 0;

/**
 * Argument of VFIO_MIG_GET_PRECOPY_INFO. Out: estimates in bytes of what is still to be read, of the initial state and
 * of what changed since. EINVAL outside the PRE_COPY states. Source: vfio.h.
 */
export const VfioPrecopyInfo = struct("vfio_precopy_info", {
  argsz: u32,
  flags: u32,
  initial_bytes: alignedU64,
  dirty_bytes: alignedU64,
});

/**
 * Data of VFIO_DEVICE_FEATURE_DMA_LOGGING_START. In: a wish for the page size in bytes, and the address of `num_ranges`
 * of VfioDeviceFeatureDmaLoggingRange. Out: `page_size`, what the device took. Source: vfio.h.
 */
export const VfioDeviceFeatureDmaLoggingControl = struct("vfio_device_feature_dma_logging_control", {
  page_size: alignedU64,
  num_ranges: u32,
  __reserved: u32,
  ranges: alignedU64,
});

/** One range of IOVA, in bytes, whose DMA writes are logged. In. Source: vfio.h. */
export const VfioDeviceFeatureDmaLoggingRange = struct("vfio_device_feature_dma_logging_range", {
  iova: alignedU64,
  length: alignedU64,
});

/**
 * Data of VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT. In: the range, bytes that one bit stands for, the address of the
 * bitmap. The kernel only sets bits in it. What was reported counts as clean. Source: vfio.h.
 */
export const VfioDeviceFeatureDmaLoggingReport = struct("vfio_device_feature_dma_logging_report", {
  iova: alignedU64,
  length: alignedU64,
  page_size: alignedU64,
  bitmap: alignedU64,
});

/**
 * Data of VFIO_DEVICE_FEATURE_MIG_DATA_SIZE. Out: estimate in bytes of what STOP_COPY will transfer. Source: vfio.h.
 */
export const VfioDeviceFeatureMigDataSize = struct("vfio_device_feature_mig_data_size", {
  stop_copy_length: alignedU64,
});

// States of the migration region of 5.8 to 5.17: bits, not an enum.
export const VFIO_DEVICE_STATE_V1_STOP = 0;
export const VFIO_DEVICE_STATE_V1_RUNNING = 1 << 0;
export const VFIO_DEVICE_STATE_V1_SAVING = 1 << 1;
export const VFIO_DEVICE_STATE_V1_RESUMING = 1 << 2;
export const VFIO_DEVICE_STATE_MASK = 0x7;

/**
 * The registers at the start of the migration region of 5.8 to 5.17. Offset from the region's start and sizes in bytes.
 * Source: vfio.h.
 */
export const VfioDeviceMigrationInfo = struct("vfio_device_migration_info", {
  device_state: u32,
  reserved: u32,
  pending_bytes: alignedU64,
  data_offset: alignedU64,
  data_size: alignedU64,
});
