import type { FileDescription } from "../kernel/file-description.ts";
import * as iommufd from "../uapi/iommufd.ts";
import * as hwpt from "../uapi/iommufd-hwpt.ts";
import * as viommu from "../uapi/iommufd-viommu.ts";
import { type Layout, viewOf } from "../uapi/layout.ts";
import { requestName } from "../uapi/request-names.ts";
import * as vfio from "../uapi/vfio.ts";
import * as cdev from "../uapi/vfio-cdev.ts";
import * as device from "../uapi/vfio-device.ts";
import { VfioDeviceFeature } from "../uapi/vfio-feature.ts";
import { VfioDeviceGfxPlaneInfo } from "../uapi/vfio-gfx.ts";
import { VfioPrecopyInfo } from "../uapi/vfio-migration.ts";
import * as pci from "../uapi/vfio-pci.ts";
import * as spapr from "../uapi/vfio-spapr.ts";
import * as type1 from "../uapi/vfio-type1.ts";

// biome-ignore lint/suspicious/noExplicitAny: layouts of any fields
type AnyLayout = Layout<any>;

/** What a number in a structure means: the bits of a set, or the names of values. */
export type FieldNames =
  | { readonly kind: "flags"; readonly names: ReadonlyMap<number, string> }
  | { readonly kind: "values"; readonly names: ReadonlyMap<number, string> };

/** What the argument of a request consists of, for those who look at calls from outside. */
export interface RequestFacts {
  /** The structure behind the argument; undefined when the argument is a value, a string or nothing. */
  readonly layout?: AnyLayout;
  readonly argument: "struct" | "value" | "string" | "fd" | "none";
  readonly names?: Readonly<Record<string, FieldNames>>;
  /** Fields that hold addresses of the program's memory. */
  readonly pointers?: readonly string[];
  /** Fields that hold descriptors; those behind the structure are told by fdArray(). */
  readonly fds?: readonly string[];
  /** The field that a new descriptor comes back in, where it is not the call's value. */
  readonly outFd?: string;
  /** The IOVA range that the request is about. */
  readonly range?: { readonly iova: string; readonly length: string };
  /** What stands behind the structure, by its bytes. */
  readonly tail?: "capabilities" | "irq-fds" | "group-fds" | "dirty-bitmap" | "unmap-bitmap";
  /** Names of values of an argument that is one. */
  readonly values?: ReadonlyMap<number, string>;
}

/** The bits or values whose constants begin with `prefix`, with the rest of their names. */
function pick(
  constants: Readonly<Record<string, unknown>>,
  prefix: string,
  except?: RegExp,
): ReadonlyMap<number, string> {
  return new Map(
    Object.entries(constants).flatMap(([name, value]) =>
      typeof value === "number" && name.startsWith(prefix) && !except?.test(name)
        ? [[value, name.slice(prefix.length)] as const]
        : [],
    ),
  );
}

const flags = (constants: object, prefix: string, except?: RegExp): FieldNames => ({
  kind: "flags",
  names: pick(constants as Record<string, unknown>, prefix, except),
});
const values = (constants: object, prefix: string, except?: RegExp): FieldNames => ({
  kind: "values",
  names: pick(constants as Record<string, unknown>, prefix, except),
});

const NONE: RequestFacts = { argument: "none" };
const of = (layout: AnyLayout, rest: Omit<RequestFacts, "layout" | "argument"> = {}): RequestFacts => ({
  layout,
  argument: "struct",
  ...rest,
});

const IOMMU_TYPES = new Map([
  [vfio.VFIO_TYPE1_IOMMU, "VFIO_TYPE1_IOMMU"],
  [vfio.VFIO_SPAPR_TCE_IOMMU, "VFIO_SPAPR_TCE_IOMMU"],
  [vfio.VFIO_TYPE1v2_IOMMU, "VFIO_TYPE1v2_IOMMU"],
  [vfio.VFIO_DMA_CC_IOMMU, "VFIO_DMA_CC_IOMMU"],
  [vfio.VFIO_EEH, "VFIO_EEH"],
  [vfio.VFIO_TYPE1_NESTING_IOMMU, "VFIO_TYPE1_NESTING_IOMMU"],
  [vfio.VFIO_SPAPR_TCE_v2_IOMMU, "VFIO_SPAPR_TCE_v2_IOMMU"],
  [vfio.VFIO_NOIOMMU_IOMMU, "VFIO_NOIOMMU_IOMMU"],
  [vfio.VFIO_UNMAP_ALL, "VFIO_UNMAP_ALL"],
  [vfio.VFIO_UPDATE_VADDR, "VFIO_UPDATE_VADDR"],
]);
const REGIONS: FieldNames = {
  kind: "values",
  names: new Map(
    [...pick(device, "VFIO_PCI_", /NUM_|IRQ_INDEX|PCI_DEVID/)].filter(([, name]) => name.endsWith("_REGION_INDEX")),
  ),
};
const IRQS: FieldNames = {
  kind: "values",
  names: new Map([...pick(device, "VFIO_PCI_", /NUM_/)].filter(([, name]) => name.endsWith("_IRQ_INDEX"))),
};
const RANGE = { iova: "iova", length: "size" };
const LENGTH = { iova: "iova", length: "length" };

/** By the name that request-names.ts gives. */
const FACTS: Readonly<Record<string, RequestFacts>> = {
  VFIO_GET_API_VERSION: NONE,
  VFIO_CHECK_EXTENSION: { argument: "value", values: IOMMU_TYPES },
  VFIO_SET_IOMMU: { argument: "value", values: IOMMU_TYPES },
  VFIO_GROUP_GET_STATUS: of(vfio.VfioGroupStatus, { names: { flags: flags(vfio, "VFIO_GROUP_FLAGS_") } }),
  VFIO_GROUP_SET_CONTAINER: { argument: "fd" },
  VFIO_GROUP_UNSET_CONTAINER: NONE,
  VFIO_GROUP_GET_DEVICE_FD: { argument: "string" },
  VFIO_IOMMU_GET_INFO: of(type1.VfioIommuType1Info, {
    names: { flags: flags(type1, "VFIO_IOMMU_INFO_") },
    tail: "capabilities",
  }),
  VFIO_IOMMU_MAP_DMA: of(type1.VfioIommuType1DmaMap, {
    names: { flags: flags(type1, "VFIO_DMA_MAP_FLAG_") },
    pointers: ["vaddr"],
    range: RANGE,
  }),
  VFIO_IOMMU_UNMAP_DMA: of(type1.VfioIommuType1DmaUnmap, {
    names: { flags: flags(type1, "VFIO_DMA_UNMAP_FLAG_") },
    range: RANGE,
    tail: "unmap-bitmap",
  }),
  VFIO_IOMMU_DIRTY_PAGES: of(type1.VfioIommuType1DirtyBitmap, {
    names: { flags: flags(type1, "VFIO_IOMMU_DIRTY_PAGES_FLAG_") },
    tail: "dirty-bitmap",
  }),
  VFIO_IOMMU_SPAPR_TCE_GET_INFO: of(spapr.VfioIommuSpaprTceInfo, {
    names: { flags: flags(spapr, "VFIO_IOMMU_SPAPR_INFO_") },
  }),
  VFIO_IOMMU_ENABLE: NONE,
  VFIO_IOMMU_DISABLE: NONE,
  VFIO_IOMMU_SPAPR_REGISTER_MEMORY: of(spapr.VfioIommuSpaprRegisterMemory, { pointers: ["vaddr"] }),
  VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY: of(spapr.VfioIommuSpaprRegisterMemory, { pointers: ["vaddr"] }),
  VFIO_IOMMU_SPAPR_TCE_CREATE: of(spapr.VfioIommuSpaprTceCreate),
  VFIO_IOMMU_SPAPR_TCE_REMOVE: of(spapr.VfioIommuSpaprTceRemove),
  VFIO_EEH_PE_OP: of(spapr.VfioEehPeOp, { names: { op: values(spapr, "VFIO_EEH_PE_", /_STATE_/) } }),
  VFIO_DEVICE_GET_INFO: of(device.VfioDeviceInfo, {
    names: { flags: flags(device, "VFIO_DEVICE_FLAGS_") },
    tail: "capabilities",
  }),
  VFIO_DEVICE_GET_REGION_INFO: of(device.VfioRegionInfo, {
    names: { flags: flags(device, "VFIO_REGION_INFO_FLAG_"), index: REGIONS },
    tail: "capabilities",
  }),
  VFIO_DEVICE_GET_IRQ_INFO: of(device.VfioIrqInfo, { names: { flags: flags(device, "VFIO_IRQ_INFO_"), index: IRQS } }),
  VFIO_DEVICE_SET_IRQS: of(device.VfioIrqSet, {
    names: { flags: flags(device, "VFIO_IRQ_SET_", /_TYPE_MASK$/), index: IRQS },
    tail: "irq-fds",
  }),
  VFIO_DEVICE_RESET: NONE,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: of(pci.VfioPciHotResetInfo, {
    names: { flags: flags(pci, "VFIO_PCI_HOT_RESET_FLAG_") },
  }),
  VFIO_DEVICE_PCI_HOT_RESET: of(pci.VfioPciHotReset, { tail: "group-fds" }),
  VFIO_DEVICE_IOEVENTFD: of(pci.VfioDeviceIoeventfd, {
    names: { flags: flags(pci, "VFIO_DEVICE_IOEVENTFD_", /SIZE_MASK/) },
    fds: ["fd"],
  }),
  VFIO_DEVICE_QUERY_GFX_PLANE: of(VfioDeviceGfxPlaneInfo),
  VFIO_DEVICE_GET_GFX_DMABUF: { argument: "value" },
  VFIO_DEVICE_FEATURE: of(VfioDeviceFeature, {}),
  VFIO_DEVICE_BIND_IOMMUFD: of(cdev.VfioDeviceBindIommufd, { fds: ["iommufd"] }),
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: of(cdev.VfioDeviceAttachIommufdPt),
  VFIO_DEVICE_DETACH_IOMMUFD_PT: of(cdev.VfioDeviceDetachIommufdPt),
  VFIO_MIG_GET_PRECOPY_INFO: of(VfioPrecopyInfo),
  IOMMU_DESTROY: of(iommufd.IommuDestroy),
  IOMMU_IOAS_ALLOC: of(iommufd.IommuIoasAlloc),
  IOMMU_IOAS_ALLOW_IOVAS: of(iommufd.IommuIoasAllowIovas, { pointers: ["allowed_iovas"] }),
  IOMMU_IOAS_COPY: of(iommufd.IommuIoasCopy, {
    names: { flags: flags(iommufd, "IOMMU_IOAS_MAP_", /^IOMMU_IOAS_MAP_FILE$/) },
    range: { iova: "dst_iova", length: "length" },
  }),
  IOMMU_IOAS_IOVA_RANGES: of(iommufd.IommuIoasIovaRanges, { pointers: ["allowed_iovas"] }),
  IOMMU_IOAS_MAP: of(iommufd.IommuIoasMap, {
    names: { flags: flags(iommufd, "IOMMU_IOAS_MAP_", /^IOMMU_IOAS_MAP_FILE$/) },
    pointers: ["user_va"],
    range: LENGTH,
  }),
  IOMMU_IOAS_MAP_FILE: of(iommufd.IommuIoasMapFile, {
    names: { flags: flags(iommufd, "IOMMU_IOAS_MAP_", /^IOMMU_IOAS_MAP_FILE$/) },
    fds: ["fd"],
    range: LENGTH,
  }),
  IOMMU_IOAS_UNMAP: of(iommufd.IommuIoasUnmap, { range: LENGTH }),
  IOMMU_OPTION: of(iommufd.IommuOption, {
    names: { op: values(iommufd, "IOMMU_OPTION_OP_"), option_id: values(iommufd, "IOMMU_OPTION_", /_OP_/) },
  }),
  IOMMU_VFIO_IOAS: of(iommufd.IommuVfioIoas, { names: { op: values(iommufd, "IOMMU_VFIO_IOAS_") } }),
  IOMMU_IOAS_CHANGE_PROCESS: of(iommufd.IommuIoasChangeProcess),
  IOMMU_HWPT_ALLOC: of(hwpt.IommuHwptAlloc, {
    names: {
      flags: flags(hwpt, "IOMMU_HWPT_ALLOC_"),
      data_type: values(hwpt, "IOMMU_HWPT_DATA_"),
    },
    pointers: ["data_uptr"],
  }),
  IOMMU_GET_HW_INFO: of(hwpt.IommuHwInfo, {
    names: {
      out_data_type: values(hwpt, "IOMMU_HW_INFO_TYPE_", /DEFAULT/),
      out_capabilities: flags(hwpt, "IOMMU_HW_CAP_"),
    },
    pointers: ["data_uptr"],
  }),
  IOMMU_HWPT_SET_DIRTY_TRACKING: of(hwpt.IommuHwptSetDirtyTracking, {
    names: { flags: flags(hwpt, "IOMMU_HWPT_DIRTY_TRACKING_") },
  }),
  IOMMU_HWPT_GET_DIRTY_BITMAP: of(hwpt.IommuHwptGetDirtyBitmap, {
    names: { flags: flags(hwpt, "IOMMU_HWPT_GET_DIRTY_BITMAP_") },
    pointers: ["data"],
    range: LENGTH,
  }),
  IOMMU_HWPT_INVALIDATE: of(hwpt.IommuHwptInvalidate, { pointers: ["data_uptr"] }),
  IOMMU_FAULT_QUEUE_ALLOC: of(viommu.IommuFaultAlloc, { outFd: "out_fault_fd" }),
  IOMMU_VIOMMU_ALLOC: of(viommu.IommuViommuAlloc),
  IOMMU_VDEVICE_ALLOC: of(viommu.IommuVdeviceAlloc),
  IOMMU_VEVENTQ_ALLOC: of(viommu.IommuVeventqAlloc),
  IOMMU_HW_QUEUE_ALLOC: of(viommu.IommuHwQueueAlloc),
};

/** All request names that are known. */
export const REQUEST_NAMES: readonly string[] = Object.keys(FACTS);

/** The name of a request that is made on a file, as requestName() gives it. */
export function requestOf(file: FileDescription, request: number): string {
  return requestName(file.kind, request, file.label.startsWith("spapr") ? "spapr" : "type1");
}

/** What is known of a request by its name; undefined for numbers without one. */
export function requestFacts(name: string): RequestFacts | undefined {
  return Object.hasOwn(FACTS, name) ? FACTS[name] : undefined;
}

/** Offset and count of descriptors (s32) that follow a structure, as its bytes say. */
export function fdArray(facts: RequestFacts, bytes: Uint8Array): { readonly at: number; readonly count: number } {
  const view = viewOf(bytes);
  const none = { at: 0, count: 0 };
  if (facts.argument === "fd") return bytes.length >= 4 ? { at: 0, count: 1 } : none;
  const layout = facts.layout;
  if (!layout || bytes.length < layout.size) return none;
  const room = (at: number) => Math.floor((bytes.length - at) / 4);
  if (facts.tail === "group-fds") {
    const at = pci.VfioPciHotReset.size;
    return { at, count: Math.min(view.getUint32(8, true), room(at)) };
  }
  if (facts.tail === "irq-fds" && view.getUint32(4, true) & device.VFIO_IRQ_SET_DATA_EVENTFD) {
    const at = device.VfioIrqSet.size;
    return { at, count: Math.min(view.getUint32(16, true), room(at)) };
  }
  return none;
}
