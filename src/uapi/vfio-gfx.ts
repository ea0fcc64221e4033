import { alignedU64, overlay, struct, u32 } from "./layout.ts";

/** What <linux/vfio.h> has for mediated graphics devices: the guest's screen and its virtual monitor. */

/** Argument: VfioDeviceGfxPlaneInfo. */
export const VFIO_DEVICE_QUERY_GFX_PLANE = 0x3b72;
/** Argument: a pointer to a u32, the dmabuf_id of a plane. Returns a descriptor. */
export const VFIO_DEVICE_GET_GFX_DMABUF = 0x3b73;

/** Only ask whether the other flag works. */
export const VFIO_GFX_PLANE_TYPE_PROBE = 1 << 0;
export const VFIO_GFX_PLANE_TYPE_DMABUF = 1 << 1;
export const VFIO_GFX_PLANE_TYPE_REGION = 1 << 2;

/**
 * Argument of VFIO_DEVICE_QUERY_GFX_PLANE. In: flags and drm_plane_type. Out: the rest; sizes and positions in pixels,
 * stride and size in bytes; all zero when the plane is off. Source: vfio.h.
 */
export const VfioDeviceGfxPlaneInfo = struct("vfio_device_gfx_plane_info", {
  argsz: u32,
  flags: u32,
  drm_plane_type: u32,
  drm_format: u32,
  drm_format_mod: alignedU64,
  width: u32,
  height: u32,
  stride: u32,
  size: u32,
  x_pos: u32,
  y_pos: u32,
  x_hot: u32,
  y_hot: u32,
  region_index: u32,
  dmabuf_id: overlay("region_index", u32),
  reserved: u32,
});

export const VFIO_DEVICE_GFX_LINK_STATE_UP = 1;
export const VFIO_DEVICE_GFX_LINK_STATE_DOWN = 2;

/**
 * The registers at the start of an EDID region. The program reads where the blob goes (offset and size in bytes,
 * resolution in pixels, 0 for no limit), writes it, its size and the link state. Source: vfio.h.
 */
export const VfioRegionGfxEdid = struct("vfio_region_gfx_edid", {
  edid_offset: u32,
  edid_max_size: u32,
  edid_size: u32,
  max_xres: u32,
  max_yres: u32,
  link_state: u32,
});
