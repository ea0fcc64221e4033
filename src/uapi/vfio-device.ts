import { alignedU64, flexible, struct, u8, u32 } from "./layout.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * Device requests of <linux/vfio.h> that all devices share: regions, interrupts, reset. What only PCI devices have is
 * in vfio-pci.ts, graphics in vfio-gfx.ts, character devices in vfio-cdev.ts; VFIO_DEVICE_FEATURE and what it leads to
 * in vfio-feature.ts and vfio-migration.ts.
 */

/** Argument: VfioDeviceInfo. */
export const VFIO_DEVICE_GET_INFO = 0x3b6b;
/** Argument: VfioRegionInfo. */
export const VFIO_DEVICE_GET_REGION_INFO = 0x3b6c;
/** Argument: VfioIrqInfo. */
export const VFIO_DEVICE_GET_IRQ_INFO = 0x3b6d;
/** Argument: VfioIrqSet. */
export const VFIO_DEVICE_SET_IRQS = 0x3b6e;
/** No argument. EINVAL when the device cannot be reset on its own. */
export const VFIO_DEVICE_RESET = 0x3b6f;

/** VFIO_DEVICE_RESET works. */
export const VFIO_DEVICE_FLAGS_RESET = 1 << 0;
export const VFIO_DEVICE_FLAGS_PCI = 1 << 1;
export const VFIO_DEVICE_FLAGS_PLATFORM = 1 << 2;
export const VFIO_DEVICE_FLAGS_AMBA = 1 << 3;
export const VFIO_DEVICE_FLAGS_CCW = 1 << 4;
export const VFIO_DEVICE_FLAGS_AP = 1 << 5;
export const VFIO_DEVICE_FLAGS_FSL_MC = 1 << 6;
/** There are capabilities. */
export const VFIO_DEVICE_FLAGS_CAPS = 1 << 7;
export const VFIO_DEVICE_FLAGS_CDX = 1 << 8;

/**
 * Argument of VFIO_DEVICE_GET_INFO. In: argsz, at least 16 (EINVAL). Out: how many region and interrupt indexes there
 * are (the highest plus one; not all of them need exist), and where capabilities begin, in bytes from the start.
 * Source: vfio.h.
 */
export const VfioDeviceInfo = struct("vfio_device_info", {
  argsz: u32,
  flags: u32,
  num_regions: u32,
  num_irqs: u32,
  cap_offset: u32,
  pad: u32,
});

// Capabilities of VfioDeviceInfo. The zPCI ones (s390) have their layouts in <linux/vfio_zdev.h>.
export const VFIO_DEVICE_INFO_CAP_ZPCI_BASE = 1;
export const VFIO_DEVICE_INFO_CAP_ZPCI_GROUP = 2;
export const VFIO_DEVICE_INFO_CAP_ZPCI_UTIL = 3;
export const VFIO_DEVICE_INFO_CAP_ZPCI_PFIP = 4;
export const VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP = 5;

/** Completes 32-bit atomics. */
export const VFIO_PCI_ATOMIC_COMP32 = 1 << 0;
export const VFIO_PCI_ATOMIC_COMP64 = 1 << 1;
export const VFIO_PCI_ATOMIC_COMP128 = 1 << 2;

/** Capability 5, version 1. Out: flags, which PCIe atomic operations the root port completes. Source: vfio.h. */
export const VfioDeviceInfoCapPciAtomicComp = struct("vfio_device_info_cap_pci_atomic_comp", {
  header: VfioInfoCapHeader,
  flags: u32,
  reserved: u32,
});

export const VFIO_REGION_INFO_FLAG_READ = 1 << 0;
export const VFIO_REGION_INFO_FLAG_WRITE = 1 << 1;
export const VFIO_REGION_INFO_FLAG_MMAP = 1 << 2;
/** There are capabilities; cap_offset is 0 when argsz left no room for them. */
export const VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;

/**
 * Argument of VFIO_DEVICE_GET_REGION_INFO. In: argsz, at least 32 (EINVAL), and `index`. Out: `size` in bytes, 0 for a
 * region that the device has not got; `offset`, where it lies in the device's file. EINVAL for an index that cannot
 * exist. Source: vfio.h.
 */
export const VfioRegionInfo = struct("vfio_region_info", {
  argsz: u32,
  flags: u32,
  index: u32,
  cap_offset: u32,
  size: alignedU64,
  offset: alignedU64,
});

/** Capability: only parts of the region can be mapped. */
export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
/** Capability: what a device-specific region is. */
export const VFIO_REGION_INFO_CAP_TYPE = 2;
/** Capability (a header alone): the page of the MSI-X table can be mapped along. */
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
/** Capability of NVLink2 memory; its driver left the kernel in 5.13. */
export const VFIO_REGION_INFO_CAP_NVLINK2_SSATGT = 4;
/** Capability of NVLink2 memory; its driver left the kernel in 5.13. */
export const VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD = 5;

/** One area of VfioRegionInfoCapSparseMmap. Out. Bytes, offset from the region's start. Source: vfio.h. */
export const VfioRegionSparseMmapArea = struct("vfio_region_sparse_mmap_area", {
  offset: alignedU64,
  size: alignedU64,
});

/** Capability 1, version 1. Out: the areas of the region that mmap() accepts. Source: vfio.h. */
export const VfioRegionInfoCapSparseMmap = struct("vfio_region_info_cap_sparse_mmap", {
  header: VfioInfoCapHeader,
  nr_areas: u32,
  reserved: u32,
  areas: flexible(VfioRegionSparseMmapArea),
});

/** Capability 2, version 1. Out: VFIO_REGION_TYPE_* and, by that, VFIO_REGION_SUBTYPE_*. Source: vfio.h. */
export const VfioRegionInfoCapType = struct("vfio_region_info_cap_type", {
  header: VfioInfoCapHeader,
  type: u32,
  subtype: u32,
});

/** The type's low bits are a PCI vendor id. Bit 31, kept positive. */
export const VFIO_REGION_TYPE_PCI_VENDOR_TYPE = 0x8000_0000;
export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff;
export const VFIO_REGION_TYPE_GFX = 1;
export const VFIO_REGION_TYPE_CCW = 2;
export const VFIO_REGION_TYPE_MIGRATION_DEPRECATED = 3;

export const VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION = 1;
export const VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG = 2;
export const VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG = 3;
export const VFIO_REGION_SUBTYPE_NVIDIA_NVLINK2_RAM = 1;
export const VFIO_REGION_SUBTYPE_IBM_NVLINK2_ATSD = 1;
export const VFIO_REGION_SUBTYPE_GFX_EDID = 1;
export const VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD = 1;
export const VFIO_REGION_SUBTYPE_CCW_SCHIB = 2;
export const VFIO_REGION_SUBTYPE_CCW_CRW = 3;
export const VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED = 1;

/**
 * Capability 4. Out: the address of the memory in NVLink2's address space. No kernel since 5.13 makes it. Source:
 * vfio.h.
 */
export const VfioRegionInfoCapNvlink2Ssatgt = struct("vfio_region_info_cap_nvlink2_ssatgt", {
  header: VfioInfoCapHeader,
  tgt: alignedU64,
});

/** Capability 5. Out: the link's speed, as the device tree has it. No kernel since 5.13 makes it. Source: vfio.h. */
export const VfioRegionInfoCapNvlink2Lnkspd = struct("vfio_region_info_cap_nvlink2_lnkspd", {
  header: VfioInfoCapHeader,
  link_speed: u32,
  __pad: u32,
});

export const VFIO_IRQ_INFO_EVENTFD = 1 << 0;
export const VFIO_IRQ_INFO_MASKABLE = 1 << 1;
/** Masked by the kernel each time it fires. */
export const VFIO_IRQ_INFO_AUTOMASKED = 1 << 2;
/** All vectors of the index are set up at once; a change of their number needs the index to be torn down first. */
export const VFIO_IRQ_INFO_NORESIZE = 1 << 3;

/**
 * Argument of VFIO_DEVICE_GET_IRQ_INFO. In: argsz, at least 16 (EINVAL), and `index`. Out: flags, and `count` vectors
 * (0: the device has none of this kind). EINVAL for an index that cannot exist. Source: vfio.h.
 */
export const VfioIrqInfo = struct("vfio_irq_info", { argsz: u32, flags: u32, index: u32, count: u32 });

/** No data: the action applies to the whole range. */
export const VFIO_IRQ_SET_DATA_NONE = 1 << 0;
/** Data: one u8 a vector, non-zero where the action applies. */
export const VFIO_IRQ_SET_DATA_BOOL = 1 << 1;
/** Data: one s32 a vector, an eventfd or -1. */
export const VFIO_IRQ_SET_DATA_EVENTFD = 1 << 2;
export const VFIO_IRQ_SET_ACTION_MASK = 1 << 3;
export const VFIO_IRQ_SET_ACTION_UNMASK = 1 << 4;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 5;
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 0x7;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 0x38;

/**
 * Argument of VFIO_DEVICE_SET_IRQS. In: one DATA and one ACTION flag, and vectors `start` up to `start + count` of
 * `index`. With DATA_NONE, ACTION_TRIGGER and count 0 the whole index is switched off. EINVAL for what does not add up.
 * Source: vfio.h.
 */
export const VfioIrqSet = struct("vfio_irq_set", {
  argsz: u32,
  flags: u32,
  index: u32,
  start: u32,
  count: u32,
  data: flexible(u8),
});

// Region indexes of a PCI device. From VFIO_PCI_NUM_REGIONS on they are device-specific.
export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR1_REGION_INDEX = 1;
export const VFIO_PCI_BAR2_REGION_INDEX = 2;
export const VFIO_PCI_BAR3_REGION_INDEX = 3;
export const VFIO_PCI_BAR4_REGION_INDEX = 4;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;

// Interrupt indexes of a PCI device.
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
/** Uncorrectable error of the device. */
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
/** The host asks for the device back. */
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

// Indexes of s390 channel (ccw) and crypto (ap) devices.
export const VFIO_CCW_CONFIG_REGION_INDEX = 0;
export const VFIO_CCW_NUM_REGIONS = 1;
export const VFIO_CCW_IO_IRQ_INDEX = 0;
export const VFIO_CCW_CRW_IRQ_INDEX = 1;
export const VFIO_CCW_REQ_IRQ_INDEX = 2;
export const VFIO_AP_REQ_IRQ_INDEX = 0;
export const VFIO_AP_CFG_CHG_IRQ_INDEX = 1;
