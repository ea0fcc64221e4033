import type { ErrnoName } from "../../uapi/errno.ts";
import { ALLOC_HWPT, ATTACH_PT, BIND_IOMMUFD, DEVICE_FD, SET_CONTAINER, SET_IOMMU } from "./causes/attach.ts";
import { BIND_DRIVER, HOT_RESET, REGION_ACCESS, RESET, SET_IRQS } from "./causes/device.ts";
import * as map from "./causes/map.ts";
import { OPEN_CDEV, OPEN_CONTAINER, OPEN_GROUP, OPEN_IOMMUFD } from "./causes/nodes.ts";
import type { CallName, Cause } from "./rule.ts";

/** A call that logs report, and what is behind its errnos. */
export interface CallRow {
  /** As the table of errors calls it; undefined for what is no request. */
  readonly request: string | undefined;
  /** What it does, for people. */
  readonly what: string;
  readonly causes: Readonly<Partial<Record<string, readonly Cause[]>>>;
}

const MAP = {
  EINVAL: map.MAP_EINVAL,
  ENOMEM: map.MAP_ENOMEM,
  ENOSPC: map.MAP_ENOSPC,
  EFAULT: map.MAP_EFAULT,
  EEXIST: map.MAP_EEXIST,
  EBUSY: map.MAP_EBUSY,
  EPERM: map.MAP_EPERM,
  ENOENT: map.MAP_ENOENT,
  EIO: map.MAP_EIO,
  ENODEV: map.MAP_ENODEV,
};

export const CALLS: Readonly<Record<CallName, CallRow>> = {
  map: { request: "VFIO_IOMMU_MAP_DMA", what: "mapping memory for DMA", causes: MAP },
  unmap: {
    request: "VFIO_IOMMU_UNMAP_DMA",
    what: "unmapping memory",
    causes: { EINVAL: map.UNMAP_EINVAL, ENOENT: map.UNMAP_ENOENT },
  },
  "ioas-map": {
    request: "IOMMU_IOAS_MAP",
    what: "mapping memory for DMA (iommufd)",
    causes: { ...MAP, EADDRINUSE: map.MAP_EINVAL },
  },
  "open-container": { request: "open", what: "opening /dev/vfio/vfio", causes: OPEN_CONTAINER },
  "open-group": { request: "open", what: "opening the group's node", causes: OPEN_GROUP },
  "set-container": {
    request: "VFIO_GROUP_SET_CONTAINER",
    what: "putting the group into the container",
    causes: SET_CONTAINER,
  },
  "set-iommu": { request: "VFIO_SET_IOMMU", what: "giving the container its IOMMU", causes: SET_IOMMU },
  "device-fd": { request: "VFIO_GROUP_GET_DEVICE_FD", what: "getting the device from its group", causes: DEVICE_FD },
  "device-info": { request: "VFIO_DEVICE_GET_INFO", what: "asking what the device has", causes: DEVICE_FD },
  "set-irqs": { request: "VFIO_DEVICE_SET_IRQS", what: "setting up interrupts", causes: SET_IRQS },
  reset: { request: "VFIO_DEVICE_RESET", what: "resetting the device", causes: RESET },
  "hot-reset": { request: "VFIO_DEVICE_PCI_HOT_RESET", what: "resetting the device's bus", causes: HOT_RESET },
  "region-access": { request: undefined, what: "an access to the device's registers", causes: REGION_ACCESS },
  "open-iommufd": { request: "open", what: "opening /dev/iommu", causes: OPEN_IOMMUFD },
  "open-cdev": { request: "open", what: "opening the device's own node", causes: OPEN_CDEV },
  "bind-iommufd": {
    request: "VFIO_DEVICE_BIND_IOMMUFD",
    what: "binding the device to the iommufd",
    causes: BIND_IOMMUFD,
  },
  "attach-pt": {
    request: "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
    what: "attaching the device to an address space",
    causes: ATTACH_PT,
  },
  "alloc-hwpt": { request: "IOMMU_HWPT_ALLOC", what: "allocating a page table", causes: ALLOC_HWPT },
  "bind-driver": { request: undefined, what: "binding the device to vfio-pci", causes: BIND_DRIVER },
};

/** The causes of a call that failed; none are known for every errno. */
export function causesOf(call: CallName, errno: ErrnoName | undefined): readonly Cause[] {
  return errno === undefined ? [] : (CALLS[call].causes[errno] ?? []);
}
