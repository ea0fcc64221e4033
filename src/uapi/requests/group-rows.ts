import * as vfio from "../vfio.ts";
import { flags, ofPointer, ofStruct, plain, type RequestRow } from "./request-row.ts";

/** What a group's file knows. */
export const GROUP_ROWS: readonly RequestRow[] = [
  ofStruct({ VFIO_GROUP_GET_STATUS: vfio.VFIO_GROUP_GET_STATUS }, vfio.VfioGroupStatus, {
    names: { flags: flags(vfio, "VFIO_GROUP_FLAGS_") },
  }),
  ofPointer({ VFIO_GROUP_SET_CONTAINER: vfio.VFIO_GROUP_SET_CONTAINER }, "fd"),
  plain({ VFIO_GROUP_UNSET_CONTAINER: vfio.VFIO_GROUP_UNSET_CONTAINER }),
  ofPointer({ VFIO_GROUP_GET_DEVICE_FD: vfio.VFIO_GROUP_GET_DEVICE_FD }, "string"),
];
