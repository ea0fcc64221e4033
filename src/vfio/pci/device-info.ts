import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VfioDeviceInfo,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import type { OpenDevice } from "./open-device.ts";

const MINIMUM = VfioDeviceInfo.endOf("num_irqs");
const AT = VfioDeviceInfo.offsets;

const user = new UserStruct(VfioDeviceInfo.size);

/** VFIO_DEVICE_GET_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_info). No device here completes PCIe atomics, so there are no capabilities. */
export function getInfo(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_device_info");
  user.setU32(AT.flags, VFIO_DEVICE_FLAGS_PCI | (device.resetWorks ? VFIO_DEVICE_FLAGS_RESET : 0));
  user.setU32(AT.num_regions, VFIO_PCI_NUM_REGIONS);
  user.setU32(AT.num_irqs, VFIO_PCI_NUM_IRQS);
  user.setU64(AT.cap_offset, 0n);
  const size = device.server === "mediated" ? MINIMUM : VfioDeviceInfo.size;
  user.copyOut(task, arg, Math.min(user.u32(AT.argsz), size));
  return 0;
}
