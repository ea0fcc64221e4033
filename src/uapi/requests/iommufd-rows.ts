import * as iommufd from "../iommufd.ts";
import * as hwpt from "../iommufd-hwpt.ts";
import * as test from "../iommufd-test.ts";
import { TEST_CMD_MEMBERS } from "../iommufd-test.ts";
import * as viommu from "../iommufd-viommu.ts";
import { flags, ofStruct, type RequestRow, values } from "./request-row.ts";

const LENGTH = { iova: "iova", length: "length" };
const MAP_FLAGS = flags(iommufd, "IOMMU_IOAS_MAP_", /^IOMMU_IOAS_MAP_FILE$/);

/** What an iommufd knows beyond the requests of a type1 container. */
export const IOMMUFD_ROWS: readonly RequestRow[] = [
  ofStruct({ IOMMU_DESTROY: iommufd.IOMMU_DESTROY }, iommufd.IommuDestroy),
  ofStruct({ IOMMU_IOAS_ALLOC: iommufd.IOMMU_IOAS_ALLOC }, iommufd.IommuIoasAlloc),
  ofStruct({ IOMMU_IOAS_ALLOW_IOVAS: iommufd.IOMMU_IOAS_ALLOW_IOVAS }, iommufd.IommuIoasAllowIovas, {
    pointers: ["allowed_iovas"],
  }),
  ofStruct(
    { IOMMU_IOAS_COPY: iommufd.IOMMU_IOAS_COPY },
    iommufd.IommuIoasCopy,
    { names: { flags: MAP_FLAGS } },
    { range: { iova: "dst_iova", length: "length" } },
  ),
  ofStruct({ IOMMU_IOAS_IOVA_RANGES: iommufd.IOMMU_IOAS_IOVA_RANGES }, iommufd.IommuIoasIovaRanges, {
    pointers: ["allowed_iovas"],
  }),
  ofStruct(
    { IOMMU_IOAS_MAP: iommufd.IOMMU_IOAS_MAP },
    iommufd.IommuIoasMap,
    { names: { flags: MAP_FLAGS }, pointers: ["user_va"] },
    { range: LENGTH },
  ),
  ofStruct(
    { IOMMU_IOAS_MAP_FILE: iommufd.IOMMU_IOAS_MAP_FILE },
    iommufd.IommuIoasMapFile,
    { names: { flags: MAP_FLAGS }, fds: ["fd"] },
    { range: LENGTH },
  ),
  ofStruct({ IOMMU_IOAS_UNMAP: iommufd.IOMMU_IOAS_UNMAP }, iommufd.IommuIoasUnmap, {}, { range: LENGTH }),
  ofStruct({ IOMMU_OPTION: iommufd.IOMMU_OPTION }, iommufd.IommuOption, {
    names: { op: values(iommufd, "IOMMU_OPTION_OP_"), option_id: values(iommufd, "IOMMU_OPTION_", /_OP_/) },
  }),
  ofStruct({ IOMMU_VFIO_IOAS: iommufd.IOMMU_VFIO_IOAS }, iommufd.IommuVfioIoas, {
    names: { op: values(iommufd, "IOMMU_VFIO_IOAS_") },
  }),
  ofStruct({ IOMMU_IOAS_CHANGE_PROCESS: iommufd.IOMMU_IOAS_CHANGE_PROCESS }, iommufd.IommuIoasChangeProcess),
  ofStruct({ IOMMU_HWPT_ALLOC: hwpt.IOMMU_HWPT_ALLOC }, hwpt.IommuHwptAlloc, {
    names: { flags: flags(hwpt, "IOMMU_HWPT_ALLOC_"), data_type: values(hwpt, "IOMMU_HWPT_DATA_") },
    pointers: ["data_uptr"],
  }),
  ofStruct({ IOMMU_GET_HW_INFO: hwpt.IOMMU_GET_HW_INFO }, hwpt.IommuHwInfo, {
    names: {
      out_data_type: values(hwpt, "IOMMU_HW_INFO_TYPE_", /DEFAULT/),
      out_capabilities: flags(hwpt, "IOMMU_HW_CAP_"),
    },
    pointers: ["data_uptr"],
  }),
  ofStruct({ IOMMU_HWPT_SET_DIRTY_TRACKING: hwpt.IOMMU_HWPT_SET_DIRTY_TRACKING }, hwpt.IommuHwptSetDirtyTracking, {
    names: { flags: flags(hwpt, "IOMMU_HWPT_DIRTY_TRACKING_") },
  }),
  ofStruct(
    { IOMMU_HWPT_GET_DIRTY_BITMAP: hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP },
    hwpt.IommuHwptGetDirtyBitmap,
    { names: { flags: flags(hwpt, "IOMMU_HWPT_GET_DIRTY_BITMAP_") }, pointers: ["data"] },
    { range: LENGTH },
  ),
  ofStruct({ IOMMU_HWPT_INVALIDATE: hwpt.IOMMU_HWPT_INVALIDATE }, hwpt.IommuHwptInvalidate, {
    pointers: ["data_uptr"],
  }),
  ofStruct(
    { IOMMU_FAULT_QUEUE_ALLOC: viommu.IOMMU_FAULT_QUEUE_ALLOC },
    viommu.IommuFaultAlloc,
    {},
    { outFd: "out_fault_fd" },
  ),
  ofStruct({ IOMMU_VIOMMU_ALLOC: viommu.IOMMU_VIOMMU_ALLOC }, viommu.IommuViommuAlloc, { pointers: ["data_uptr"] }),
  ofStruct({ IOMMU_VDEVICE_ALLOC: viommu.IOMMU_VDEVICE_ALLOC }, viommu.IommuVdeviceAlloc),
  ofStruct(
    { IOMMU_VEVENTQ_ALLOC: viommu.IOMMU_VEVENTQ_ALLOC },
    viommu.IommuVeventqAlloc,
    {},
    { outFd: "out_veventq_fd" },
  ),
  ofStruct({ IOMMU_HW_QUEUE_ALLOC: viommu.IOMMU_HW_QUEUE_ALLOC }, viommu.IommuHwQueueAlloc),
  ofStruct(
    { IOMMU_TEST_CMD: test.IOMMU_TEST_CMD },
    test.IommuTestCmd,
    {
      names: { op: values(test, "IOMMU_TEST_OP_") },
      hidden: ({ op }) => [...TEST_CMD_MEMBERS.values()].filter((member) => member !== TEST_CMD_MEMBERS.get(op)),
    },
    // its first field; another operation that gives a descriptor returns it
    { outFd: "create_access" },
  ),
];
