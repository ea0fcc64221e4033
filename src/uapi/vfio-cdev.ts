import { alignedU64, s32, struct, u32 } from "./layout.ts";

/**
 * Requests of <linux/vfio.h> to a device that was opened as a character device (/dev/vfio/devices/vfioN) instead of by
 * its group.
 */

/** Argument: VfioDeviceBindIommufd. */
export const VFIO_DEVICE_BIND_IOMMUFD = 0x3b76;
/** Argument: VfioDeviceAttachIommufdPt. */
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3b77;
/** Argument: VfioDeviceDetachIommufdPt. */
export const VFIO_DEVICE_DETACH_IOMMUFD_PT = 0x3b78;

/** `token_uuid_ptr` counts. In the structure of 6.17 and later. */
export const VFIO_DEVICE_BIND_FLAG_TOKEN = 1 << 0;

/**
 * Argument of VFIO_DEVICE_BIND_IOMMUFD up to 6.16. In: flags (0, else EINVAL) and the iommufd's descriptor. Out:
 * `out_devid`, the device's object id in that iommufd. Source: vfio.h.
 */
export const VfioDeviceBindIommufd = struct("vfio_device_bind_iommufd", {
  argsz: u32,
  flags: u32,
  iommufd: s32,
  out_devid: u32,
});

/**
 * The same since 6.17; argsz tells which one a program means. `token_uuid_ptr` is the address of 16 bytes, the shared
 * secret of a physical function with virtual ones. Source: vfio.h.
 */
export const VfioDeviceBindIommufdV617 = struct("vfio_device_bind_iommufd_v617", {
  argsz: u32,
  flags: u32,
  iommufd: s32,
  out_devid: u32,
  token_uuid_ptr: alignedU64,
});

/** `pasid` counts. */
export const VFIO_DEVICE_ATTACH_PASID = 1 << 0;
/** `pasid` counts. */
export const VFIO_DEVICE_DETACH_PASID = 1 << 0;

/**
 * Argument of VFIO_DEVICE_ATTACH_IOMMUFD_PT. In: `pt_id`, an address space or page table of the iommufd; with the flag,
 * the PASID that it is for (the field came after 6.12; endOf("pt_id") is the size before). Out: `pt_id`, the page table
 * in use. Source: vfio.h.
 */
export const VfioDeviceAttachIommufdPt = struct("vfio_device_attach_iommufd_pt", {
  argsz: u32,
  flags: u32,
  pt_id: u32,
  pasid: u32,
});

/**
 * Argument of VFIO_DEVICE_DETACH_IOMMUFD_PT. In: with the flag, which PASID (the field came after 6.12; endOf("flags")
 * is the size before). Source: vfio.h.
 */
export const VfioDeviceDetachIommufdPt = struct("vfio_device_detach_iommufd_pt", {
  argsz: u32,
  flags: u32,
  pasid: u32,
});
