import { decodeIo, encodeIo } from "./ioctl.ts";
import * as iommufd from "./iommufd.ts";
import * as hwpt from "./iommufd-hwpt.ts";
import * as viommu from "./iommufd-viommu.ts";
import * as container from "./vfio.ts";
import * as cdev from "./vfio-cdev.ts";
import * as device from "./vfio-device.ts";
import { VFIO_DEVICE_FEATURE } from "./vfio-feature.ts";
import { VFIO_DEVICE_GET_GFX_DMABUF, VFIO_DEVICE_QUERY_GFX_PLANE } from "./vfio-gfx.ts";
import { VFIO_MIG_GET_PRECOPY_INFO } from "./vfio-migration.ts";
import * as pci from "./vfio-pci.ts";
import * as spapr from "./vfio-spapr.ts";
import * as type1 from "./vfio-type1.ts";

/** Kinds of files whose requests have names. "migration" is the data file of a device's migration. */
export type RequestTarget = "container" | "group" | "device" | "iommufd" | "migration" | "foreign";

/** The IOMMU type decides what some numbers mean on a container. */
export type ContainerBackend = "type1" | "spapr";

/** Names by number, from an object of constants. */
type Names = ReadonlyMap<number, string>;

function names(constants: Record<string, number>): Names {
  return new Map(Object.entries(constants).map(([name, number]) => [number, name]));
}

const { VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU } = container;
const CONTAINER = { VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU };

const { VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_DIRTY_PAGES } = type1;
const TYPE1 = { VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_DIRTY_PAGES };

const { VFIO_IOMMU_SPAPR_TCE_GET_INFO, VFIO_IOMMU_ENABLE, VFIO_IOMMU_DISABLE, VFIO_EEH_PE_OP } = spapr;
const { VFIO_IOMMU_SPAPR_REGISTER_MEMORY, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY } = spapr;
const { VFIO_IOMMU_SPAPR_TCE_CREATE, VFIO_IOMMU_SPAPR_TCE_REMOVE } = spapr;
const SPAPR = {
  VFIO_IOMMU_SPAPR_TCE_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_IOMMU_ENABLE,
  VFIO_IOMMU_DISABLE,
  VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
  VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
  VFIO_IOMMU_SPAPR_TCE_CREATE,
  VFIO_IOMMU_SPAPR_TCE_REMOVE,
  VFIO_EEH_PE_OP,
};

const { VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER } = container;
const { VFIO_GROUP_UNSET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD } = container;

const { VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_IRQ_INFO } = device;
const { VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET } = device;
const { VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_IOEVENTFD } = pci;
const { VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_DETACH_IOMMUFD_PT } = cdev;

const IOMMUFD = {
  IOMMU_DESTROY: iommufd.IOMMU_DESTROY,
  IOMMU_IOAS_ALLOC: iommufd.IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_ALLOW_IOVAS: iommufd.IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_COPY: iommufd.IOMMU_IOAS_COPY,
  IOMMU_IOAS_IOVA_RANGES: iommufd.IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP: iommufd.IOMMU_IOAS_MAP,
  IOMMU_IOAS_UNMAP: iommufd.IOMMU_IOAS_UNMAP,
  IOMMU_OPTION: iommufd.IOMMU_OPTION,
  IOMMU_VFIO_IOAS: iommufd.IOMMU_VFIO_IOAS,
  IOMMU_IOAS_MAP_FILE: iommufd.IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_CHANGE_PROCESS: iommufd.IOMMU_IOAS_CHANGE_PROCESS,
  IOMMU_HWPT_ALLOC: hwpt.IOMMU_HWPT_ALLOC,
  IOMMU_GET_HW_INFO: hwpt.IOMMU_GET_HW_INFO,
  IOMMU_HWPT_SET_DIRTY_TRACKING: hwpt.IOMMU_HWPT_SET_DIRTY_TRACKING,
  IOMMU_HWPT_GET_DIRTY_BITMAP: hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_INVALIDATE: hwpt.IOMMU_HWPT_INVALIDATE,
  IOMMU_FAULT_QUEUE_ALLOC: viommu.IOMMU_FAULT_QUEUE_ALLOC,
  IOMMU_VIOMMU_ALLOC: viommu.IOMMU_VIOMMU_ALLOC,
  IOMMU_VDEVICE_ALLOC: viommu.IOMMU_VDEVICE_ALLOC,
  IOMMU_VEVENTQ_ALLOC: viommu.IOMMU_VEVENTQ_ALLOC,
  IOMMU_HW_QUEUE_ALLOC: viommu.IOMMU_HW_QUEUE_ALLOC,
};

const NAMES: Record<Exclude<RequestTarget, "container" | "foreign"> | ContainerBackend, Names> = {
  // sPAPR's own numbers keep their names where type1 has none: a program that tries them is better told what it tried.
  type1: names({ ...CONTAINER, ...SPAPR, ...TYPE1 }),
  spapr: names({ ...CONTAINER, ...SPAPR }),
  group: names({
    VFIO_GROUP_GET_STATUS,
    VFIO_GROUP_SET_CONTAINER,
    VFIO_GROUP_UNSET_CONTAINER,
    VFIO_GROUP_GET_DEVICE_FD,
  }),
  device: names({
    VFIO_DEVICE_GET_INFO,
    VFIO_DEVICE_GET_REGION_INFO,
    VFIO_DEVICE_GET_IRQ_INFO,
    VFIO_DEVICE_SET_IRQS,
    VFIO_DEVICE_RESET,
    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
    VFIO_DEVICE_PCI_HOT_RESET,
    VFIO_DEVICE_QUERY_GFX_PLANE,
    VFIO_DEVICE_GET_GFX_DMABUF,
    VFIO_DEVICE_IOEVENTFD,
    VFIO_DEVICE_FEATURE,
    VFIO_DEVICE_BIND_IOMMUFD,
    VFIO_DEVICE_ATTACH_IOMMUFD_PT,
    VFIO_DEVICE_DETACH_IOMMUFD_PT,
  }),
  // An iommufd answers the requests of a type1 container too (drivers/iommu/iommufd/vfio_compat.c).
  iommufd: names({ ...CONTAINER, ...TYPE1, ...IOMMUFD }),
  migration: names({ VFIO_MIG_GET_PRECOPY_INFO }),
};

/**
 * What a request number means on a kind of file, as the header names it: "VFIO_IOMMU_MAP_DMA". Takes numbers of either
 * encoding (see ioctl.ts). Unknown ones come back in hex, as they were.
 * @param backend what the container is set to; type1 when left out
 */
export function requestName(kind: RequestTarget, request: number, backend: ContainerBackend = "type1"): string {
  const hex = `0x${(request >>> 0).toString(16)}`;
  const decoded = decodeIo(request);
  if (decoded === undefined || kind === "foreign") return hex;
  return NAMES[kind === "container" ? backend : kind].get(encodeIo(decoded.type, decoded.nr)) ?? hex;
}
