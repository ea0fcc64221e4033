/** The typed client: Container, Group and Device over one of the two transports. */
export { CapabilityChainError } from "../uapi/capability-chain.ts";
export { Container, type MapRequest } from "./container.ts";
export { Device, type DeviceInfo, type IrqInfo, type RegionInfo } from "./device.ts";
export { DirtyBitmap } from "./dirty-bitmap.ts";
export { DeviceNameError, deviceName, devicePath, findGroup } from "./find-group.ts";
export { Group, type GroupStatus } from "./group.ts";
export { type DirtyRange, Hwpt, type HwptInvalidation } from "./hwpt.ts";
export {
  Ioas,
  type IoasCopyRequest,
  type IoasFileRequest,
  type IoasMapRequest,
  type IoasPlace,
  type IoasRanges,
} from "./ioas.ts";
export type { IommuInfo, IovaRange, MigrationInfo } from "./iommu-info.ts";
export { type HwInfo, type HwptData, type HwptRequest, Iommufd } from "./iommufd.ts";
export { iovaList } from "./iova-list.ts";
export type { IrqRequest } from "./irq-request.ts";
export { ModelTransport, type ModelTransportOptions } from "./model-transport.ts";
export { openDevice } from "./open-device.ts";
export { OpenFile } from "./open-file.ts";
export {
  type AccessWidth,
  type EventFd,
  type MapFile,
  type Mapping,
  type Memory,
  O_CLOEXEC,
  O_RDWR,
  SystemCallError,
  type Transport,
} from "./transport.ts";
