import { ROM_BAR } from "../../devices/pci/registers.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VfioDeviceFeature,
  VfioDeviceFeatureDmaBuf,
  VfioDeviceLowPowerEntryWithWakeup,
} from "../../uapi/vfio-feature.ts";
import { UserStruct } from "../user-struct.ts";
import { eventOf } from "./event.ts";
import type { OpenDevice } from "./open-device.ts";
import { TOKEN_BYTES, type VfToken } from "./vf-token.ts";

const AT = VfioDeviceFeature.offsets;
const MINIMUM = VfioDeviceFeature.endOf("flags");
const WAKEUP = VfioDeviceLowPowerEntryWithWakeup;
const DMA_BUF = VfioDeviceFeatureDmaBuf;

const user = new UserStruct(Math.max(MINIMUM, WAKEUP.size, DMA_BUF.size, TOKEN_BYTES));

/** What VFIO_DEVICE_FEATURE asks for. */
interface FeatureRequest {
  /** VFIO_DEVICE_FEATURE_* without flags. */
  readonly feature: number;
  readonly flags: number;
  /** Bytes for the feature's data. */
  readonly room: number;
}

/** The part of VFIO_DEVICE_FEATURE that is the same for all devices (vfio_main.c:vfio_ioctl_device_feature). */
function readRequest({ context, target }: OpenDevice, task: Task, arg: Word): FeatureRequest {
  user.copyInSized(task, arg, MINIMUM, "vfio_device_feature");
  const flags = user.u32(AT.flags);
  const room = user.u32(AT.argsz) - MINIMUM;
  const both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
  const known = VFIO_DEVICE_FEATURE_MASK | both | VFIO_DEVICE_FEATURE_PROBE;
  if (flags & ~known) fail("EINVAL", `unknown flag bits ${hex((flags & ~known) >>> 0)}`);
  if (!(flags & VFIO_DEVICE_FEATURE_PROBE) && (flags & both) === both) {
    fail("EINVAL", "GET and SET go together with PROBE only");
  }
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  if (feature === VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 && context.release.has("precopyInfoV2")) {
    fail("EINVAL", `${target.name} cannot be migrated`);
  }
  return { feature, flags, room };
}

/** VFIO_DEVICE_FEATURE of a device whose driver has no features of its own. */
export function refuseFeature(device: OpenDevice, task: Task, arg: Word): never {
  const { feature } = readRequest(device, task, arg);
  fail("ENOTTY", `${device.target.name} has no feature ${feature} (VFIO_DEVICE_FEATURE)`);
}

/** VFIO_DEVICE_FEATURE of vfio-pci (vfio_pci_core.c:vfio_pci_core_ioctl_feature). */
export function deviceFeature(device: OpenDevice, task: Task, arg: Word): number {
  const { feature, flags, room } = readRequest(device, task, arg);
  const { context } = device;
  switch (feature) {
    case VFIO_DEVICE_FEATURE_PCI_VF_TOKEN:
      if (device.token) return setToken(device.token, task, arg, flags, room);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      if (context.release.has("lowPowerFeature")) return enterLowPower(device, flags, room);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      if (context.release.has("lowPowerFeature")) return enterWithWakeup(device, task, arg, flags, room);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
      if (context.release.has("lowPowerFeature")) return exitLowPower(device, flags, room);
      break;
    case VFIO_DEVICE_FEATURE_DMA_BUF:
      // recorded: distributions' kernels have it, those that were built with iommufd for the recordings lack
      // CONFIG_PCI_P2PDMA
      if (context.release.has("dmaBufFeature") && !context.iommufd) {
        return exportDmaBuf(device, task, arg, flags, room);
      }
      break;
  }
  fail("ENOTTY", `${device.target.name} has no feature ${feature} (VFIO_DEVICE_FEATURE)`);
}

/** vfio.h:vfio_check_feature. True when the feature is to be carried out, false when it was only probed. */
function check(flags: number, room: number, supported: number, size: number): boolean {
  const both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
  if (flags & both & ~supported) {
    fail("EINVAL", `the feature can only be ${supported === VFIO_DEVICE_FEATURE_SET ? "set" : "read"}`);
  }
  if (flags & VFIO_DEVICE_FEATURE_PROBE) return false;
  if (!(flags & both)) fail("EINVAL", "one of GET, SET and PROBE is wanted");
  if (room < size) fail("EINVAL", `argsz leaves ${room} bytes for the feature's data, ${size} are needed`);
  return true;
}

/** vfio_pci_core.c:vfio_pci_core_feature_token */
function setToken(token: VfToken, task: Task, arg: Word, flags: number, room: number): number {
  if (!check(flags, room, VFIO_DEVICE_FEATURE_SET, TOKEN_BYTES)) return 0;
  task.memory.copyIn(wordAdd(arg, MINIMUM), user.bytes, TOKEN_BYTES);
  token.set(user.bytes);
  return 0;
}

function enterLowPower(device: OpenDevice, flags: number, room: number): number {
  if (check(flags, room, VFIO_DEVICE_FEATURE_SET, 0)) {
    refuseSecondEntry(device);
    device.lowPower = { wakeup: undefined };
  }
  return 0;
}

function enterWithWakeup(device: OpenDevice, task: Task, arg: Word, flags: number, room: number): number {
  if (!check(flags, room, VFIO_DEVICE_FEATURE_SET, WAKEUP.size)) return 0;
  task.memory.copyIn(wordAdd(arg, MINIMUM), user.bytes, WAKEUP.size);
  const fd = user.view.s32(WAKEUP.offsets.wakeup_eventfd);
  if (fd < 0) fail("EINVAL", `${fd} is no descriptor of an eventfd`);
  const wakeup = eventOf(task, fd);
  try {
    refuseSecondEntry(device);
  } catch (error) {
    wakeup.release();
    throw error;
  }
  device.lowPower = { wakeup };
  return 0;
}

function refuseSecondEntry({ lowPower, target }: OpenDevice): void {
  if (lowPower) fail("EINVAL", `${target.name} is in low power already`);
}

function exitLowPower(device: OpenDevice, flags: number, room: number): number {
  if (check(flags, room, VFIO_DEVICE_FEATURE_SET, 0)) {
    device.lowPower?.wakeup?.release();
    device.lowPower = undefined;
  }
  return 0;
}

/**
 * The model has no dma-bufs: the request is checked as the kernel does, and then there is nothing to give
 * (vfio_pci_dmabuf.c).
 */
function exportDmaBuf(device: OpenDevice, task: Task, arg: Word, flags: number, room: number): number {
  if (!check(flags, room, VFIO_DEVICE_FEATURE_GET, DMA_BUF.size)) return 0;
  task.memory.copyIn(wordAdd(arg, MINIMUM), user.bytes, DMA_BUF.size);
  const request = DMA_BUF.read(user.view, 0);
  if (request.nr_ranges === 0) fail("EINVAL", "nr_ranges is 0");
  if (request.flags !== 0) fail("EINVAL", "no flags of a dma-buf are known");
  if (request.region_index >= ROM_BAR || device.target.bar(request.region_index) === undefined) {
    fail("ENODEV", `${device.target.name} has no BAR ${request.region_index}`);
  }
  fail("ENOTSUP", "this model exports no dma-bufs");
}
