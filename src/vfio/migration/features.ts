import { fail, hex } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd, wordFromBigInt } from "../../kernel/word.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
} from "../../uapi/vfio-feature.ts";
import {
  VfioDeviceFeatureDmaLoggingControl as CONTROL,
  VfioDeviceFeatureMigDataSize as DATA_SIZE,
  VfioDeviceFeatureMigration as MIGRATION,
  VfioDeviceFeatureDmaLoggingRange as RANGE,
  VfioDeviceFeatureDmaLoggingReport as REPORT,
  VfioDeviceFeatureMigState as STATE,
} from "../../uapi/vfio-migration.ts";
import { checkFeature, type FeatureRequest } from "../feature-request.ts";
import { UserBitmap } from "../user-bitmap.ts";
import { UserStruct } from "../user-struct.ts";
import type { DeviceMigration } from "./device-migration.ts";
import type { LoggedRange } from "./dma-log.ts";

const user = new UserStruct(Math.max(CONTROL.size, REPORT.size));
const END = 2n ** 64n;
const SMALLEST_PAGE = 4096n;

/**
 * VFIO_DEVICE_FEATURE of what the core of VFIO serves for a device that can be migrated
 * (vfio_main.c:vfio_ioctl_device_feature); undefined for all other features, and for those that a release has not.
 * @param data address of the feature's data
 */
export function migrationFeature(
  migration: DeviceMigration,
  task: Task,
  data: Word,
  request: FeatureRequest,
): number | RequestSteps | undefined {
  const { release } = migration;
  switch (request.feature) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
      return release.has("migrationStates") ? tellFlags(migration, task, data, request) : undefined;
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
      return release.has("migrationStates") ? deviceState(migration, task, data, request) : undefined;
    case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
      return release.has("migrationDataSize") ? tellSize(migration, task, data, request) : undefined;
    case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
      return release.has("precopyInfoV2") ? askForFlags(migration, request) : undefined;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
      return release.has("dmaLogging") ? startLog(migration, task, data, request) : undefined;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
      return release.has("dmaLogging") ? stopLog(migration, request) : undefined;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
      return release.has("dmaLogging") ? reportLog(migration, task, data, request) : undefined;
  }
  return undefined;
}

/** vfio_ioctl_device_feature_migration */
function tellFlags({ flags }: DeviceMigration, task: Task, data: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_GET, MIGRATION.size)) return 0;
  answer(task, data, MIGRATION.encode({ flags: BigInt(flags) }, 0, task.memory.littleEndian));
  return 0;
}

/** vfio_ioctl_device_feature_migration_data_size */
function tellSize({ dataSize }: DeviceMigration, task: Task, data: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_GET, DATA_SIZE.size)) return 0;
  answer(task, data, DATA_SIZE.encode({ stop_copy_length: BigInt(dataSize) }, 0, task.memory.littleEndian));
  return 0;
}

/** vfio_ioctl_device_feature_migration_precopy_info_v2 */
function askForFlags(migration: DeviceMigration, request: FeatureRequest): number {
  if (checkFeature(request, VFIO_DEVICE_FEATURE_SET, 0)) migration.hasPrecopyFlags = true;
  return 0;
}

/** vfio_ioctl_device_feature_mig_device_state */
function deviceState(
  migration: DeviceMigration,
  task: Task,
  data: Word,
  request: FeatureRequest,
): number | RequestSteps {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, STATE.size)) return 0;
  user.copyIn(task, data, STATE.size);
  const { device_state } = STATE.read(user.view, 0);
  if (request.flags & VFIO_DEVICE_FEATURE_SET) return setState(migration, task, data, device_state);
  tellState(task, data, migration.state, -1);
  return 0;
}

/** The structure says that there is no file when there is none, also where the request fails. */
function* setState(migration: DeviceMigration, task: Task, data: Word, wanted: number): RequestSteps {
  let file: FileDescription | undefined;
  try {
    file = yield* migration.setState(wanted);
  } catch (error) {
    tellState(task, data, wanted, -1);
    throw error;
  }
  // an address that cannot be written is found out before there is a descriptor
  tellState(task, data, wanted, -1);
  if (file) tellState(task, data, wanted, task.files.install(file, true));
  return 0;
}

function tellState(task: Task, data: Word, device_state: number, data_fd: number): void {
  answer(task, data, STATE.encode({ device_state, data_fd }, 0, task.memory.littleEndian));
}

/** vfio_ioctl_device_feature_logging_start */
function startLog(migration: DeviceMigration, task: Task, data: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_SET, CONTROL.size)) return 0;
  user.copyIn(task, data, CONTROL.size);
  const control = CONTROL.read(user.view, 0);
  if (control.num_ranges === 0) fail("EINVAL", "num_ranges is 0");
  const most = task.memory.pageSize / RANGE.size;
  if (control.num_ranges > most) fail("E2BIG", `${control.num_ranges} ranges are more than a page holds (${most})`);
  const ranges: LoggedRange[] = [];
  for (let i = 0; i < control.num_ranges; i++) {
    user.copyIn(task, wordAdd(wordFromBigInt(control.ranges), i * RANGE.size), RANGE.size);
    const { iova, length } = RANGE.read(user.view, 0);
    const low = BigInt.asUintN(64, control.page_size - 1n);
    if ((iova | length) & low)
      fail("EINVAL", `range ${i}, ${hex(iova)} and ${hex(length)} bytes, is no multiple of ${hex(control.page_size)}`);
    if (iova + length >= END) fail("EOVERFLOW", `range ${i}: iova ${hex(iova)} plus ${hex(length)} runs past 2^64`);
    const last = iova + length - 1n;
    if (ranges.some((other) => iova <= other.last && other.start <= last))
      fail("EINVAL", `range ${i} from ${hex(iova)} on overlaps another`);
    ranges.push({ start: iova, last });
  }
  const { log, name } = migration;
  if (log.isActive) fail("EINVAL", `what ${name} writes is logged already (DMA_LOGGING_STOP ends it)`);
  control.page_size = log.start(ranges, control.page_size);
  try {
    answer(task, data, CONTROL.encode(control, 0, task.memory.littleEndian));
  } catch (error) {
    log.stop();
    throw error;
  }
  return 0;
}

/** vfio_ioctl_device_feature_logging_stop. No error when it was not on (mlx5/cmd.c:mlx5vf_stop_page_tracker). */
function stopLog({ log }: DeviceMigration, request: FeatureRequest): number {
  if (checkFeature(request, VFIO_DEVICE_FEATURE_SET, 0)) log.stop();
  return 0;
}

/** vfio_ioctl_device_feature_logging_report */
function reportLog({ log, name, release }: DeviceMigration, task: Task, data: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_GET, REPORT.size)) return 0;
  user.copyIn(task, data, REPORT.size);
  const { iova, length, page_size, bitmap } = REPORT.read(user.view, 0);
  if (page_size < SMALLEST_PAGE || (page_size & (page_size - 1n)) !== 0n)
    fail("EINVAL", `page_size ${hex(page_size)} is no power of two from ${hex(SMALLEST_PAGE)} on`);
  if (iova + length >= END) fail("EOVERFLOW", `iova ${hex(iova)} plus ${hex(length)} runs past 2^64`);
  const { memory } = task;
  const first = bitmap - (bitmap % BigInt(memory.pageSize));
  const isWritable = first <= BigInt(Number.MAX_SAFE_INTEGER) && memory.pinnable(Number(first), 1, true) === 1;
  if (!release.has("dirtyBitmapPinnedLate") && !isWritable)
    fail("EFAULT", `the bitmap at ${hex(bitmap)} is not writable memory`);
  if (!log.isActive) fail("EINVAL", `what ${name} writes is not logged (DMA_LOGGING_START comes first)`);
  if (length === 0n) return 0;
  const bits = new UserBitmap(task, bitmap);
  const bit = (address: bigint) => Number((address - iova) / page_size);
  log.take(iova, iova + length - 1n, (from, to) => bits.set(bit(from), bit(to) - bit(from) + 1));
  if (!bits.write() && isWritable) fail("EFAULT", `the bitmap at ${hex(bitmap)} cannot be written all`);
  return 0;
}

function answer(task: Task, data: Word, bytes: Uint8Array): void {
  task.memory.copyOut(data, bytes, bytes.length);
}
