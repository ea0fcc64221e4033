import { flexible, s32, struct, u8, u32, u64 } from "./layout.ts";

/**
 * VFIO_DEVICE_FEATURE of <linux/vfio.h>: one request that reads, sets or probes numbered features of a device.
 * Migration and DMA logging have their layouts in vfio-migration.ts.
 */

/** Argument: VfioDeviceFeature. */
export const VFIO_DEVICE_FEATURE = 0x3b75;

export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 1 << 16;
export const VFIO_DEVICE_FEATURE_SET = 1 << 17;
/** Only ask whether the feature is there, with GET or SET in that direction. */
export const VFIO_DEVICE_FEATURE_PROBE = 1 << 18;

/**
 * Argument of VFIO_DEVICE_FEATURE. In: flags, a feature id in the low 16 bits and what to do with it. In or out:
 * `data`, whose layout the feature decides. ENOTTY for a feature that the device has not got, EINVAL for flags that do
 * not go together. Source: vfio.h.
 */
export const VfioDeviceFeature = struct("vfio_device_feature", { argsz: u32, flags: u32, data: flexible(u8) });

/** SET: 16 bytes, the secret that virtual functions of this device must name to be opened. */
export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
/** SET without data: the device may sleep. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
/** SET: VfioDeviceLowPowerEntryWithWakeup. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
/** SET without data: the device stays awake. */
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
/** SET: VfioDeviceFeatureBusMaster. Only CDX devices. */
export const VFIO_DEVICE_FEATURE_BUS_MASTER = 10;
/** GET: VfioDeviceFeatureDmaBuf. Returns a descriptor. */
export const VFIO_DEVICE_FEATURE_DMA_BUF = 11;
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12;
/** Proposed in 2026; in no header up to 7.2. */
export const VFIO_DEVICE_FEATURE_ZPCI_ERROR = 13;

/** Data of LOW_POWER_ENTRY_WITH_WAKEUP. In: the eventfd that fires when the device has been woken. Source: vfio.h. */
export const VfioDeviceLowPowerEntryWithWakeup = struct("vfio_device_low_power_entry_with_wakeup", {
  wakeup_eventfd: s32,
  reserved: u32,
});

export const VFIO_DEVICE_FEATURE_CLEAR_MASTER = 0;
export const VFIO_DEVICE_FEATURE_SET_MASTER = 1;

/** Data of BUS_MASTER. In: whether the device may do DMA (CLEAR_MASTER or SET_MASTER). Source: vfio.h. */
export const VfioDeviceFeatureBusMaster = struct("vfio_device_feature_bus_master", { op: u32 });

/** One slice of a region for VfioDeviceFeatureDmaBuf. In. Bytes from the region's start. Source: vfio.h (6.19). */
export const VfioRegionDmaRange = struct("vfio_region_dma_range", { offset: u64, length: u64 });

/**
 * Data of DMA_BUF. In: slices of one region that the new dma-buf consists of; `open_flags` are those of open(); flags
 * must be 0 (EINVAL). Source: vfio.h (6.19).
 */
export const VfioDeviceFeatureDmaBuf = struct("vfio_device_feature_dma_buf", {
  region_index: u32,
  open_flags: u32,
  flags: u32,
  nr_ranges: u32,
  dma_ranges: flexible(VfioRegionDmaRange),
});
