import { fail } from "../kernel/errors.ts";
import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VfioDeviceFeature,
} from "../uapi/vfio-feature.ts";

/** Where a feature's data begin, bytes from the structure's start. */
export const FEATURE_DATA = VfioDeviceFeature.endOf("flags");

/** What VFIO_DEVICE_FEATURE asks for. */
export interface FeatureRequest {
  /** VFIO_DEVICE_FEATURE_* without flags. */
  readonly feature: number;
  readonly flags: number;
  /** Bytes for the feature's data. */
  readonly room: number;
}

/**
 * vfio.h:vfio_check_feature. True when the feature is to be carried out, false when it was only probed.
 * @param supported VFIO_DEVICE_FEATURE_GET and _SET, as the feature has them
 * @param size bytes of the feature's data
 */
export function checkFeature({ flags, room }: FeatureRequest, supported: number, size: number): boolean {
  const both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
  if (flags & both & ~supported) {
    fail("EINVAL", `the feature can only be ${supported === VFIO_DEVICE_FEATURE_SET ? "set" : "read"}`);
  }
  if (flags & VFIO_DEVICE_FEATURE_PROBE) return false;
  if (!(flags & both)) fail("EINVAL", "one of GET, SET and PROBE is wanted");
  if (room < size) fail("EINVAL", `argsz leaves ${room} bytes for the feature's data, ${size} are needed`);
  return true;
}
