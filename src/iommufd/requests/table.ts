import type { FeatureName } from "../../kernel/releases.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import * as uapi from "../../uapi/iommufd.ts";
import * as hwpt from "../../uapi/iommufd-hwpt.ts";
import * as viommu from "../../uapi/iommufd-viommu.ts";
import type { Layout } from "../../uapi/layout.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { getDirtyBitmap, setDirtyTracking } from "./dirty-requests.ts";
import { getHwInfo } from "./hw-info.ts";
import { hwptAlloc } from "./hwpt-requests.ts";
import { allowIovas, ioasAlloc, iovaRanges } from "./ioas-requests.ts";
import { ioasCopy, ioasMap, ioasMapFile, ioasUnmap } from "./map-requests.ts";
import { invalidate } from "./nested-requests.ts";
import { changeProcess, destroyObject, vfioIoas } from "./object-requests.ts";
import { option } from "./option.ts";
import { faultAlloc, hwQueueAlloc, vdeviceAlloc, veventqAlloc, viommuAlloc } from "./viommu-requests.ts";

/** One request of /dev/iommu (struct iommufd_ioctl_op). */
export interface RequestHandler {
  readonly name: string;
  /** Bytes of the structure that are known. */
  readonly size: number;
  /** Bytes that the caller's structure must have: what the request began with. */
  readonly minimum: number;
  /** What a release must have to know the request; every release with iommufd does when left out. */
  readonly needs?: FeatureName;
  /** @param command another's as soon as it returns: steps keep what they need of it */
  execute(context: IommufdContext, command: Command): number | RequestSteps;
}

type Execute = RequestHandler["execute"];

// biome-ignore lint/suspicious/noExplicitAny: layouts of any fields
function handler(layout: Layout<any>, lastField: string, execute: Execute, needs?: FeatureName): RequestHandler {
  return {
    name: layout.name.replace(/_v\d+$/, ""),
    size: layout.size,
    minimum: layout.endOf(lastField),
    execute,
    ...(needs !== undefined && { needs }),
  };
}

/** main.c: iommufd_ioctl_ops. The named field is the last of the request's first version. */
export const HANDLERS: ReadonlyMap<number, RequestHandler> = new Map([
  [uapi.IOMMU_DESTROY, handler(uapi.IommuDestroy, "id", destroyObject)],
  [uapi.IOMMU_IOAS_ALLOC, handler(uapi.IommuIoasAlloc, "out_ioas_id", ioasAlloc)],
  [uapi.IOMMU_IOAS_ALLOW_IOVAS, handler(uapi.IommuIoasAllowIovas, "allowed_iovas", allowIovas)],
  [uapi.IOMMU_IOAS_COPY, handler(uapi.IommuIoasCopy, "src_iova", ioasCopy)],
  [uapi.IOMMU_IOAS_IOVA_RANGES, handler(uapi.IommuIoasIovaRanges, "out_iova_alignment", iovaRanges)],
  [uapi.IOMMU_IOAS_MAP, handler(uapi.IommuIoasMap, "iova", ioasMap)],
  [uapi.IOMMU_IOAS_UNMAP, handler(uapi.IommuIoasUnmap, "length", ioasUnmap)],
  [uapi.IOMMU_OPTION, handler(uapi.IommuOption, "val64", option)],
  [uapi.IOMMU_VFIO_IOAS, handler(uapi.IommuVfioIoas, "__reserved", vfioIoas)],
  [hwpt.IOMMU_HWPT_ALLOC, handler(hwpt.IommuHwptAlloc, "__reserved", hwptAlloc, "hwptAlloc")],
  [hwpt.IOMMU_GET_HW_INFO, handler(hwpt.IommuHwInfo, "__reserved", getHwInfo, "hwptAlloc")],
  [
    hwpt.IOMMU_HWPT_SET_DIRTY_TRACKING,
    handler(hwpt.IommuHwptSetDirtyTracking, "__reserved", setDirtyTracking, "hwptDirtyTracking"),
  ],
  [
    hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP,
    handler(hwpt.IommuHwptGetDirtyBitmap, "data", getDirtyBitmap, "hwptDirtyTracking"),
  ],
  [hwpt.IOMMU_HWPT_INVALIDATE, handler(hwpt.IommuHwptInvalidate, "__reserved", invalidate, "hwptInvalidate")],
  [viommu.IOMMU_FAULT_QUEUE_ALLOC, handler(viommu.IommuFaultAlloc, "out_fault_fd", faultAlloc, "iommuFaultQueue")],
  [uapi.IOMMU_IOAS_MAP_FILE, handler(uapi.IommuIoasMapFile, "iova", ioasMapFile, "virtualIommus")],
  [viommu.IOMMU_VIOMMU_ALLOC, handler(viommu.IommuViommuAlloc, "out_viommu_id", viommuAlloc, "virtualIommus")],
  [viommu.IOMMU_VDEVICE_ALLOC, handler(viommu.IommuVdeviceAlloc, "virt_id", vdeviceAlloc, "virtualIommus")],
  [uapi.IOMMU_IOAS_CHANGE_PROCESS, handler(uapi.IommuIoasChangeProcess, "__reserved", changeProcess, "virtualIommus")],
  [viommu.IOMMU_VEVENTQ_ALLOC, handler(viommu.IommuVeventqAlloc, "out_veventq_fd", veventqAlloc, "virtualIommuEvents")],
  [viommu.IOMMU_HW_QUEUE_ALLOC, handler(viommu.IommuHwQueueAlloc, "length", hwQueueAlloc, "virtualIommuQueues")],
]);
