import { fail } from "../kernel/errors.ts";
import { StructView } from "../uapi/struct-view.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VfioDeviceFeature,
} from "../uapi/vfio-feature.ts";
import { VfioDeviceFeatureMigState } from "../uapi/vfio-migration.ts";
import {
  DEFAULT_TRANSFER,
  LoggedRangeBody,
  LoggingReportBody,
  LoggingStartBody,
  MigrationDataBody,
} from "../vfio-user/layouts.ts";
import type { Message } from "../vfio-user/message.ts";
import { type Answer, needBody } from "./answer.ts";
import type { ClientDevice } from "./client-device.ts";
import { PLACE } from "./client-task.ts";

const HEAD = VfioDeviceFeature.size;

/** Which of GET and SET a feature of DMA logging has: here the server logs, and not the device. */
const LOGGING: ReadonlyMap<number, number> = new Map([
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_SET],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_SET],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_GET],
]);

/** DEVICE_FEATURE: DMA logging is the server's, everything else goes to VFIO's own request. */
export function deviceFeature(device: ClientDevice, message: Message): Answer {
  const view = needBody(message, HEAD);
  const argsz = view.u32(0);
  const flags = view.u32(4);
  if (argsz < HEAD || argsz > DEFAULT_TRANSFER)
    fail("EINVAL", `argsz of DEVICE_FEATURE is ${argsz}; ${HEAD} to ${DEFAULT_TRANSFER} are possible`);
  const feature = flags & VFIO_DEVICE_FEATURE_MASK;
  const operation = LOGGING.get(feature);
  if (operation !== undefined) return logging(device, message, { argsz, flags, feature, operation });
  const bytes = new Uint8Array(Math.max(argsz, message.body.length));
  bytes.set(message.body);
  device.task.memory.bytes = bytes;
  device.file.ioctl(device.task, VFIO_DEVICE_FEATURE, PLACE);
  const isState = feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE && !(flags & VFIO_DEVICE_FEATURE_PROBE);
  if (isState && flags & VFIO_DEVICE_FEATURE_SET) takeTransfer(device, bytes);
  return { parts: [bytes.subarray(0, argsz)] };
}

/** The file of a transfer stays here: its bytes go by MIG_DATA_READ and MIG_DATA_WRITE. */
function takeTransfer(device: ClientDevice, bytes: Uint8Array): void {
  const at = HEAD + VfioDeviceFeatureMigState.offsets.data_fd;
  if (bytes.length < at + 4) return;
  const view = new StructView(bytes, true);
  const fd = view.s32(at);
  device.transfer(fd < 0 ? undefined : device.task.files.take(fd));
  view.setS32(at, -1);
}

interface LoggingRequest {
  readonly argsz: number;
  readonly flags: number;
  readonly feature: number;
  readonly operation: number;
}

function logging({ memory }: ClientDevice, message: Message, request: LoggingRequest): Answer {
  const { argsz, flags, feature, operation } = request;
  const operations = flags & ~VFIO_DEVICE_FEATURE_MASK;
  const echo = { parts: [message.body.subarray(0, Math.min(argsz, message.body.length))] };
  if (operations & VFIO_DEVICE_FEATURE_PROBE) {
    if (operations & ~(VFIO_DEVICE_FEATURE_PROBE | operation)) fail("EINVAL", "DMA logging has no such operation");
    return echo;
  }
  if (operations !== operation) fail("EINVAL", "START and STOP of DMA logging are set, REPORT is got");
  switch (feature) {
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START: {
      needBody(message, HEAD + LoggingStartBody.size);
      const { page_size, num_ranges } = LoggingStartBody.decode(message.body.subarray(HEAD));
      if (message.body.length < HEAD + LoggingStartBody.size + LoggedRangeBody.size * num_ranges)
        fail("EINVAL", `START of DMA logging has ${message.body.length} bytes, too few for its ranges`);
      // what else is written is in no report that a client asks for
      memory.log.start(page_size);
      return echo;
    }
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
      memory.log.stop();
      return echo;
    default: {
      const before = HEAD + LoggingReportBody.size;
      needBody(message, before);
      const { iova, length, page_size } = LoggingReportBody.decode(message.body.subarray(HEAD));
      const bitmap = memory.log.report(iova, length, page_size);
      const whole = before + bitmap.length;
      if (argsz < whole) fail("EINVAL", `argsz ${argsz} has no room for a report of ${whole} bytes`);
      const head = VfioDeviceFeature.encode({ argsz: whole, flags });
      return { parts: [head, message.body.subarray(HEAD, before), bitmap] };
    }
  }
}

/** MIG_DATA_READ: the next bytes of what the device saves. */
export function readMigrationData({ saved, task, maxTransfer }: ClientDevice, message: Message): Answer {
  needBody(message, MigrationDataBody.size);
  const { size } = MigrationDataBody.decode(message.body);
  if (size > maxTransfer) fail("EINVAL", `the client takes at most ${maxTransfer} bytes of data, not ${size}`);
  const bytes = new Uint8Array(size);
  task.memory.bytes = bytes;
  const file = saved ?? fail("EINVAL", "the device is saving nothing");
  // a stream: it has no offsets, and goes on where it is
  const count = file.read(task, PLACE, size, 0);
  return {
    parts: [MigrationDataBody.encode({ argsz: MigrationDataBody.size + count, size: count }), bytes.subarray(0, count)],
  };
}

/** MIG_DATA_WRITE: the next bytes of what it resumes from. */
export function writeMigrationData({ saved, task }: ClientDevice, message: Message): undefined {
  needBody(message, MigrationDataBody.size);
  const { size } = MigrationDataBody.decode(message.body);
  const data = message.body.subarray(MigrationDataBody.size);
  if (data.length !== size) fail("EINVAL", `MIG_DATA_WRITE of ${size} bytes has ${data.length}`);
  task.memory.bytes = data;
  const file = saved ?? fail("EINVAL", "the device is resuming from nothing");
  for (let done = 0; done < size; ) {
    task.memory.bytes = data.subarray(done);
    const count = file.write(task, PLACE, size - done, 0);
    if (count === 0) fail("EIO", "the device takes no more");
    done += count;
  }
  return undefined;
}
