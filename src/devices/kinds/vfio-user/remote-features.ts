import { VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET, VfioDeviceFeature } from "../../../uapi/vfio-feature.ts";
import { VFIO_USER_DEVICE_FEATURE } from "../../../vfio-user/commands.ts";
import type { Question } from "../../../vfio-user/connection.ts";
import { PeerError } from "../../../vfio-user/peer-error.ts";
import type { RemoteDevice } from "./remote-device.ts";

const HEAD = VfioDeviceFeature.size;

function head(feature: number, operation: number, room: number): Uint8Array {
  return VfioDeviceFeature.encode({ argsz: HEAD + room, flags: feature | operation });
}

/**
 * DEVICE_FEATURE of a server, to get something.
 * @param data what the question has
 * @param size bytes of the answer
 * @throws PeerError, RefusedError
 */
export function getFeature(remote: RemoteDevice, feature: number, data: Uint8Array, size: number): Buffer {
  const parts = [head(feature, VFIO_DEVICE_FEATURE_GET, size), data];
  const answer = remote.ask(VFIO_USER_DEVICE_FEATURE, parts).subarray(HEAD);
  if (answer.length < size) throw new PeerError(`its feature ${feature} has ${answer.length} bytes, not ${size}`);
  return answer;
}

/** The same, to set something; RemoteDevice.answerTo() has the answer. @throws PeerError */
export function beginFeature(remote: RemoteDevice, feature: number, data: Uint8Array): Question {
  return remote.begin(VFIO_USER_DEVICE_FEATURE, [head(feature, VFIO_DEVICE_FEATURE_SET, data.length), data]);
}

/** And to have it set. @throws PeerError, RefusedError */
export function setFeature(remote: RemoteDevice, feature: number, data: Uint8Array): void {
  remote.ask(VFIO_USER_DEVICE_FEATURE, [head(feature, VFIO_DEVICE_FEATURE_SET, data.length), data]);
}
