import { alignedU64, flexible, overlay, s32, struct, u8, u16, u32 } from "./layout.ts";

/** Device requests of <linux/vfio.h> that only PCI devices answer: hot reset of a bus or slot, writes on an eventfd. */

/** Argument: VfioPciHotResetInfo. */
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = 0x3b70;
/** Argument: VfioPciHotReset. */
export const VFIO_DEVICE_PCI_HOT_RESET = 0x3b71;
/** Argument: VfioDeviceIoeventfd. */
export const VFIO_DEVICE_IOEVENTFD = 0x3b74;

/** devid of a device that shares its group with one that the caller has bound. */
export const VFIO_PCI_DEVID_OWNED = 0;
/** devid of a device that stands in the way of a reset. */
export const VFIO_PCI_DEVID_NOT_OWNED = -1;

/**
 * One device that a hot reset would hit. Out. `group_id` when the caller's device came from a group, `devid` (same
 * place) when it is a bound character device. Source: vfio.h.
 */
export const VfioPciDependentDevice = struct("vfio_pci_dependent_device", {
  group_id: u32,
  devid: overlay("group_id", u32),
  segment: u16,
  bus: u8,
  devfn: u8,
});

/** The list has devids, not groups. */
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1 << 0;
/** The caller owns all of them. */
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 1 << 1;

/**
 * Argument of VFIO_DEVICE_GET_PCI_HOT_RESET_INFO. In: argsz. Out: `count` devices. ENOSPC when they do not fit: count
 * is written all the same. ENODEV when neither slot nor bus can be reset. Source: vfio.h.
 */
export const VfioPciHotResetInfo = struct("vfio_pci_hot_reset_info", {
  argsz: u32,
  flags: u32,
  count: u32,
  devices: flexible(VfioPciDependentDevice),
});

/**
 * Argument of VFIO_DEVICE_PCI_HOT_RESET. In: descriptors of all groups that are hit, as proof of ownership; none when
 * the device is a bound character device. EINVAL when one is missing. Source: vfio.h.
 */
export const VfioPciHotReset = struct("vfio_pci_hot_reset", {
  argsz: u32,
  flags: u32,
  count: u32,
  group_fds: flexible(s32),
});

export const VFIO_DEVICE_IOEVENTFD_8 = 1 << 0;
export const VFIO_DEVICE_IOEVENTFD_16 = 1 << 1;
export const VFIO_DEVICE_IOEVENTFD_32 = 1 << 2;
export const VFIO_DEVICE_IOEVENTFD_64 = 1 << 3;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf;

/**
 * Argument of VFIO_DEVICE_IOEVENTFD. In: when `fd` (an eventfd; -1 takes it back) fires, the kernel writes `data` in
 * the width that flags name at `offset` bytes into the device's file. Only BARs. Source: vfio.h.
 */
export const VfioDeviceIoeventfd = struct("vfio_device_ioeventfd", {
  argsz: u32,
  flags: u32,
  offset: alignedU64,
  data: alignedU64,
  fd: s32,
  reserved: u32,
});
