import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VFIO_PRECOPY_INFO_REINIT, VfioPrecopyInfo } from "../../uapi/vfio-migration.ts";
import { UserStruct } from "../user-struct.ts";
import type { SavingFile } from "./data-files.ts";

const AT = VfioPrecopyInfo.offsets;
const SIZE = VfioPrecopyInfo.size;
const user = new UserStruct(SIZE);

/** What of the device decides about it. */
interface Precopied {
  readonly name: string;
  readonly isInPrecopy: boolean;
  readonly hasPrecopyFlags: boolean;
}

/**
 * VFIO_MIG_GET_PRECOPY_INFO (vfio.h:vfio_check_precopy_ioctl, mlx5/main.c:mlx5vf_precopy_ioctl). The flags that a
 * caller gave come back, unless it has asked for flags.
 */
export function precopyInfo(device: Precopied, file: SavingFile, task: Task, arg: Word): number {
  user.copyInSized(task, arg, SIZE, "vfio_precopy_info");
  if (!device.isInPrecopy) fail("EINVAL", `${device.name} is in no state of PRE_COPY`);
  file.refuseOver();
  const { initial, dirty } = file.remaining;
  const { stream } = file;
  if (device.hasPrecopyFlags) {
    user.setU32(AT.flags, stream.isAnew ? VFIO_PRECOPY_INFO_REINIT : 0);
    stream.isAnew = false;
  }
  user.setU64(AT.initial_bytes, BigInt(initial));
  user.setU64(AT.dirty_bytes, BigInt(dirty));
  user.copyOut(task, arg, SIZE);
  return 0;
}
