import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_VGA_REGION_INDEX,
  VfioDeviceInfo,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import { indexCount } from "./irq-info.ts";
import type { OpenDevice } from "./open-device.ts";

const MINIMUM = VfioDeviceInfo.endOf("num_irqs");
const WITH_CAPS = VfioDeviceInfo.endOf("cap_offset");
const AT = VfioDeviceInfo.offsets;

const user = new UserStruct(VfioDeviceInfo.size);

/** VFIO_DEVICE_GET_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_info). No device here completes PCIe atomics, so there are no capabilities. */
export function getInfo(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_device_info");
  user.setU32(AT.flags, VFIO_DEVICE_FLAGS_PCI | (device.resetWorks ? VFIO_DEVICE_FLAGS_RESET : 0));
  user.setU32(AT.num_regions, regionCount(device));
  user.setU32(AT.num_irqs, indexCount(device));
  user.setU64(AT.cap_offset, 0n);
  user.copyOut(task, arg, bytesWritten(device, user.u32(AT.argsz)));
  return 0;
}

/** How many regions vfio-pci of this release knows: VGA is the last. */
function regionCount({ context }: OpenDevice): number {
  return context.release.has("vgaRegion") ? VFIO_PCI_NUM_REGIONS : VFIO_PCI_VGA_REGION_INDEX;
}

function bytesWritten({ context, server }: OpenDevice, argsz: number): number {
  const { release } = context;
  if (server === "mediated" || !release.has("deviceInfoCapabilities")) return MINIMUM;
  if (release.has("wholeInfoWritten")) return Math.min(argsz, VfioDeviceInfo.size);
  return argsz >= WITH_CAPS ? WITH_CAPS : MINIMUM;
}
