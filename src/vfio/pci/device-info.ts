import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { encodeCapabilityChain } from "../../uapi/capability-chain.ts";
import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_VGA_REGION_INDEX,
  VfioDeviceInfo,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import { indexCount } from "./irq-info.ts";
import type { OpenDevice } from "./open-device.ts";
import { zpciCapabilities } from "./zpci-info.ts";

const MINIMUM = VfioDeviceInfo.endOf("num_irqs");
const WITH_CAPS = VfioDeviceInfo.endOf("cap_offset");
const AT = VfioDeviceInfo.offsets;

const SIZE = VfioDeviceInfo.size;
const NO_CHAIN = new Uint8Array(0);

const user = new UserStruct(SIZE);

/**
 * VFIO_DEVICE_GET_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_info). No device here completes PCIe atomics, so that only
 * functions of s390 have capabilities: a caller that has no room for them gets the size that it needs in argsz, and no
 * chain.
 */
export function getInfo(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_device_info");
  const argsz = user.u32(AT.argsz);
  const first = device.context.release.has("wholeInfoWritten") ? SIZE : WITH_CAPS;
  const chain = capabilityChain(device, task, first);
  const flags = VFIO_DEVICE_FLAGS_PCI | (device.resetWorks ? VFIO_DEVICE_FLAGS_RESET : 0);
  user.setU32(AT.flags, chain.length > 0 ? flags | VFIO_DEVICE_FLAGS_CAPS : flags);
  user.setU32(AT.num_regions, regionCount(device));
  user.setU32(AT.num_irqs, indexCount(device));
  user.setU64(AT.cap_offset, 0n);
  if (chain.length > 0) {
    if (argsz < first + chain.length) {
      user.setU32(AT.argsz, first + chain.length);
    } else {
      // the chain goes first: when it cannot be written the structure is left as it was
      task.memory.copyOut(wordAdd(arg, first), chain, chain.length);
      user.setU32(AT.cap_offset, first);
    }
  }
  return user.answer(task, arg, bytesWritten(device, argsz), device.context.release);
}

/** @param first where in the answer it begins */
function capabilityChain(device: OpenDevice, task: Task, first: number): Uint8Array {
  const { zpci } = device.target.description;
  const { release } = device.context;
  if (zpci === undefined || !release.has("deviceInfoCapabilities")) return NO_CHAIN;
  const { littleEndian } = task.memory;
  const capabilities = zpciCapabilities(zpci, release, littleEndian);
  return encodeCapabilityChain(first, capabilities, release.has("alignedCapabilities"), littleEndian);
}

/** How many regions vfio-pci of this release knows: VGA is the last. */
function regionCount({ context }: OpenDevice): number {
  return context.release.has("vgaRegion") ? VFIO_PCI_NUM_REGIONS : VFIO_PCI_VGA_REGION_INDEX;
}

function bytesWritten({ context, server }: OpenDevice, argsz: number): number {
  const { release } = context;
  if (server === "mediated" || !release.has("deviceInfoCapabilities")) return MINIMUM;
  if (release.has("wholeInfoWritten")) return Math.min(argsz, SIZE);
  return argsz >= WITH_CAPS ? WITH_CAPS : MINIMUM;
}
