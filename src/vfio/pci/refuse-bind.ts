import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VfioDeviceBindIommufd } from "../../uapi/vfio-cdev.ts";
import { UserStruct } from "../user-struct.ts";

const bind = new UserStruct(VfioDeviceBindIommufd.size);

/**
 * Only a device that was opened by its own node can be bound to an iommufd (device_cdev.c:vfio_df_ioctl_bind_iommufd).
 */
export function refuseBind(task: Task, arg: Word): never {
  bind.copyInSized(task, arg, VfioDeviceBindIommufd.size, "vfio_device_bind_iommufd");
  fail("EINVAL", "the device was opened through its group; open /dev/vfio/devices/vfioN to bind it to an iommufd");
}
