import { fail, hex } from "../../kernel/errors.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
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
  VfioDeviceLowPowerEntryWithWakeup,
} from "../../uapi/vfio-feature.ts";
import { checkFeature, FEATURE_DATA, type FeatureRequest } from "../feature-request.ts";
import { migrationFeature } from "../migration/features.ts";
import { UserStruct } from "../user-struct.ts";
import { eventOf } from "./event.ts";
import { exportDmaBuf } from "./export-dma-buf.ts";
import type { OpenDevice } from "./open-device.ts";
import { TOKEN_BYTES, type VfToken } from "./vf-token.ts";

const AT = VfioDeviceFeature.offsets;
const WAKEUP = VfioDeviceLowPowerEntryWithWakeup;

const user = new UserStruct(Math.max(FEATURE_DATA, WAKEUP.size, TOKEN_BYTES));

/** The part of VFIO_DEVICE_FEATURE that is the same for all devices (vfio_main.c:vfio_ioctl_device_feature). */
function readRequest(task: Task, arg: Word): FeatureRequest {
  user.copyInSized(task, arg, FEATURE_DATA, "vfio_device_feature");
  const flags = user.u32(AT.flags);
  const room = user.u32(AT.argsz) - FEATURE_DATA;
  const both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
  const known = VFIO_DEVICE_FEATURE_MASK | both | VFIO_DEVICE_FEATURE_PROBE;
  if (flags & ~known) fail("EINVAL", `unknown flag bits ${hex((flags & ~known) >>> 0)}`);
  if (!(flags & VFIO_DEVICE_FEATURE_PROBE) && (flags & both) === both) {
    fail("EINVAL", "GET and SET go together with PROBE only");
  }
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  return { feature, flags, room };
}

/** The core asks for a device's states before it asks whether the feature can be carried out (vfio_main.c). */
function refusePrecopyInfo({ context, target }: OpenDevice, { feature }: FeatureRequest): void {
  if (feature === VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 && context.release.has("precopyInfoV2")) {
    fail("EINVAL", `${target.name} cannot be migrated`);
  }
}

/** VFIO_DEVICE_FEATURE of a device whose driver has no features of its own. */
export function refuseFeature(device: OpenDevice, task: Task, arg: Word): never {
  const request = readRequest(task, arg);
  const { feature } = request;
  refusePrecopyInfo(device, request);
  fail("ENOTTY", `${device.target.name} has no feature ${feature} (VFIO_DEVICE_FEATURE)`);
}

/** VFIO_DEVICE_FEATURE of vfio-pci (vfio_pci_core.c:vfio_pci_core_ioctl_feature). */
export function deviceFeature(device: OpenDevice, task: Task, arg: Word): number | RequestSteps {
  const request = readRequest(task, arg);
  const { context, migration } = device;
  const { feature } = request;
  const answer = migration && migrationFeature(migration, task, wordAdd(arg, FEATURE_DATA), request);
  if (answer !== undefined) return answer;
  refusePrecopyInfo(device, request);
  switch (feature) {
    case VFIO_DEVICE_FEATURE_PCI_VF_TOKEN:
      if (device.token) return setToken(device.token, task, arg, request);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      if (context.release.has("lowPowerFeature")) return enterLowPower(device, request);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      if (context.release.has("lowPowerFeature")) return enterWithWakeup(device, task, arg, request);
      break;
    case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
      if (context.release.has("lowPowerFeature")) return exitLowPower(device, request);
      break;
    case VFIO_DEVICE_FEATURE_DMA_BUF:
      if (context.dmaBufs) return exportDmaBuf(device, task, arg, request);
      break;
  }
  fail("ENOTTY", `${device.target.name} has no feature ${feature} (VFIO_DEVICE_FEATURE)`);
}

/** vfio_pci_core.c:vfio_pci_core_feature_token */
function setToken(token: VfToken, task: Task, arg: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_SET, TOKEN_BYTES)) return 0;
  task.memory.copyIn(wordAdd(arg, FEATURE_DATA), user.bytes, TOKEN_BYTES);
  token.set(user.bytes);
  return 0;
}

function enterLowPower(device: OpenDevice, request: FeatureRequest): number {
  if (checkFeature(request, VFIO_DEVICE_FEATURE_SET, 0)) {
    device.dmaBufs.move(true);
    refuseSecondEntry(device);
    device.lowPower = { wakeup: undefined };
  }
  return 0;
}

function enterWithWakeup(device: OpenDevice, task: Task, arg: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_SET, WAKEUP.size)) return 0;
  task.memory.copyIn(wordAdd(arg, FEATURE_DATA), user.bytes, WAKEUP.size);
  const fd = user.view.s32(WAKEUP.offsets.wakeup_eventfd);
  if (fd < 0) fail("EINVAL", `${fd} is no descriptor of an eventfd`);
  const wakeup = eventOf(task, fd);
  device.dmaBufs.move(true);
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

function exitLowPower(device: OpenDevice, request: FeatureRequest): number {
  if (checkFeature(request, VFIO_DEVICE_FEATURE_SET, 0)) {
    device.lowPower?.wakeup?.release();
    device.lowPower = undefined;
    device.moveDmaBufs();
  }
  return 0;
}
