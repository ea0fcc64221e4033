import { VfioInfoCapHeader } from "../vfio.ts";
import * as cdev from "../vfio-cdev.ts";
import * as device from "../vfio-device.ts";
import { VFIO_DEVICE_GET_GFX_DMABUF, VFIO_DEVICE_QUERY_GFX_PLANE, VfioDeviceGfxPlaneInfo } from "../vfio-gfx.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, VfioPrecopyInfo } from "../vfio-migration.ts";
import * as pci from "../vfio-pci.ts";
import * as zdev from "../vfio-zdev.ts";
import { FEATURE_ROW } from "./feature-row.ts";
import {
  type CapabilityRow,
  type FieldNames,
  flags,
  ofStruct,
  ofValue,
  pick,
  plain,
  type RequestRow,
} from "./request-row.ts";

const REGIONS = indexes("_REGION_INDEX");
const IRQS = indexes("_IRQ_INDEX");

function indexes(ending: string): FieldNames {
  return {
    kind: "values",
    names: new Map([...pick(device, "VFIO_PCI_", /NUM_/)].filter(([, name]) => name.endsWith(ending))),
  };
}

const hexText = (value: bigint) => `0x${value.toString(16)}`;

const REGION_CAPABILITIES: readonly CapabilityRow[] = [
  {
    id: device.VFIO_REGION_INFO_CAP_SPARSE_MMAP,
    name: "SPARSE_MMAP",
    struct: {
      layout: device.VfioRegionInfoCapSparseMmap,
      hidden: () => ["nr_areas"],
      behind: ({ nr_areas: count }) => ({
        field: "areas",
        kind: "list",
        count,
        struct: {
          layout: device.VfioRegionSparseMmapArea,
          text: ({ offset, size }) => `${hexText(offset)}+${hexText(size)}`,
        },
      }),
    },
  },
  { id: device.VFIO_REGION_INFO_CAP_TYPE, name: "TYPE", struct: { layout: device.VfioRegionInfoCapType } },
  {
    id: device.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
    name: "MSIX_MAPPABLE",
    struct: { layout: VfioInfoCapHeader, hidden: () => Object.keys(VfioInfoCapHeader.fields) },
  },
];

const DEVICE_CAPABILITIES: readonly CapabilityRow[] = [
  {
    id: device.VFIO_DEVICE_INFO_CAP_ZPCI_BASE,
    name: "ZPCI_BASE",
    struct: { layout: zdev.VfioDeviceInfoCapZpciBase },
  },
  {
    id: device.VFIO_DEVICE_INFO_CAP_ZPCI_GROUP,
    name: "ZPCI_GROUP",
    struct: { layout: zdev.VfioDeviceInfoCapZpciGroup },
  },
  {
    id: device.VFIO_DEVICE_INFO_CAP_ZPCI_UTIL,
    name: "ZPCI_UTIL",
    struct: {
      layout: zdev.VfioDeviceInfoCapZpciUtil,
      behind: ({ size }) => ({ field: "util_str", kind: "bytes", count: size }),
    },
  },
  {
    id: device.VFIO_DEVICE_INFO_CAP_ZPCI_PFIP,
    name: "ZPCI_PFIP",
    struct: {
      layout: zdev.VfioDeviceInfoCapZpciPfip,
      behind: ({ size }) => ({ field: "pfip", kind: "bytes", count: size }),
    },
  },
  {
    id: device.VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
    name: "PCI_ATOMIC_COMP",
    struct: {
      layout: device.VfioDeviceInfoCapPciAtomicComp,
      names: { flags: flags(device, "VFIO_PCI_ATOMIC_") },
    },
  },
];

/** What a device's file knows, however it was opened. */
export const DEVICE_ROWS: readonly RequestRow[] = [
  ofStruct({ VFIO_DEVICE_GET_INFO: device.VFIO_DEVICE_GET_INFO }, device.VfioDeviceInfo, {
    names: { flags: flags(device, "VFIO_DEVICE_FLAGS_") },
    behind: ({ cap_offset: first }) => ({ field: "caps", kind: "capabilities", first, known: DEVICE_CAPABILITIES }),
  }),
  ofStruct({ VFIO_DEVICE_GET_REGION_INFO: device.VFIO_DEVICE_GET_REGION_INFO }, device.VfioRegionInfo, {
    names: { flags: flags(device, "VFIO_REGION_INFO_FLAG_"), index: REGIONS },
    behind: ({ cap_offset: first }) => ({ field: "caps", kind: "capabilities", first, known: REGION_CAPABILITIES }),
  }),
  ofStruct({ VFIO_DEVICE_GET_IRQ_INFO: device.VFIO_DEVICE_GET_IRQ_INFO }, device.VfioIrqInfo, {
    names: { flags: flags(device, "VFIO_IRQ_INFO_"), index: IRQS },
  }),
  ofStruct({ VFIO_DEVICE_SET_IRQS: device.VFIO_DEVICE_SET_IRQS }, device.VfioIrqSet, {
    names: { flags: flags(device, "VFIO_IRQ_SET_", /_TYPE_MASK$/), index: IRQS },
    behind: ({ flags: set, count }) =>
      set & device.VFIO_IRQ_SET_DATA_EVENTFD
        ? { field: "fds", kind: "fds", count }
        : set & device.VFIO_IRQ_SET_DATA_BOOL
          ? { field: "data", kind: "bytes", count }
          : undefined,
  }),
  plain({ VFIO_DEVICE_RESET: device.VFIO_DEVICE_RESET }),
  ofStruct({ VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: pci.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO }, pci.VfioPciHotResetInfo, {
    names: { flags: flags(pci, "VFIO_PCI_HOT_RESET_FLAG_") },
  }),
  ofStruct({ VFIO_DEVICE_PCI_HOT_RESET: pci.VFIO_DEVICE_PCI_HOT_RESET }, pci.VfioPciHotReset, {
    behind: ({ count }) => ({ field: "fds", kind: "fds", count }),
  }),
  ofStruct({ VFIO_DEVICE_IOEVENTFD: pci.VFIO_DEVICE_IOEVENTFD }, pci.VfioDeviceIoeventfd, {
    names: { flags: flags(pci, "VFIO_DEVICE_IOEVENTFD_", /SIZE_MASK/) },
    fds: ["fd"],
  }),
  ofStruct({ VFIO_DEVICE_QUERY_GFX_PLANE }, VfioDeviceGfxPlaneInfo, { hidden: () => ["dmabuf_id"] }),
  ofValue({ VFIO_DEVICE_GET_GFX_DMABUF }),
  FEATURE_ROW,
  ofStruct({ VFIO_DEVICE_BIND_IOMMUFD: cdev.VFIO_DEVICE_BIND_IOMMUFD }, cdev.VfioDeviceBindIommufdV617, {
    names: { flags: flags(cdev, "VFIO_DEVICE_BIND_FLAG_") },
    fds: ["iommufd"],
    pointers: ["token_uuid_ptr"],
    hidden: ({ flags: set }) => (set & cdev.VFIO_DEVICE_BIND_FLAG_TOKEN ? [] : ["token_uuid_ptr"]),
  }),
  ofStruct({ VFIO_DEVICE_ATTACH_IOMMUFD_PT: cdev.VFIO_DEVICE_ATTACH_IOMMUFD_PT }, cdev.VfioDeviceAttachIommufdPt, {
    names: { flags: flags(cdev, "VFIO_DEVICE_ATTACH_") },
    hidden: ({ flags: set }) => (set & cdev.VFIO_DEVICE_ATTACH_PASID ? [] : ["pasid"]),
  }),
  ofStruct({ VFIO_DEVICE_DETACH_IOMMUFD_PT: cdev.VFIO_DEVICE_DETACH_IOMMUFD_PT }, cdev.VfioDeviceDetachIommufdPt, {
    names: { flags: flags(cdev, "VFIO_DEVICE_DETACH_") },
    hidden: ({ flags: set }) => (set & cdev.VFIO_DEVICE_DETACH_PASID ? [] : ["pasid"]),
  }),
];

/** What the data file of a device's migration knows. */
export const MIGRATION_ROWS: readonly RequestRow[] = [ofStruct({ VFIO_MIG_GET_PRECOPY_INFO }, VfioPrecopyInfo)];
