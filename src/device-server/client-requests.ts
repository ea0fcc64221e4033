import { fail, hex, KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { StructView } from "../uapi/struct-view.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VfioDeviceInfo,
  VfioIrqInfo,
  VfioIrqSet,
  VfioRegionInfo,
} from "../uapi/vfio-device.ts";
import * as command from "../vfio-user/commands.ts";
import * as layout from "../vfio-user/layouts.ts";
import type { Message } from "../vfio-user/message.ts";
import { type Answer, needBody } from "./answer.ts";
import type { ClientDevice } from "./client-device.ts";
import { PLACE } from "./client-task.ts";
import { dmaMap, dmaUnmap } from "./dma-requests.ts";
import { deviceFeature, readMigrationData, writeMigrationData } from "./feature-requests.ts";

type Handler = (device: ClientDevice, message: Message) => Answer | undefined;

/** The most that an answer of information has. */
const MOST_INFO = 65536;
/** Bytes of a file in which each region has its place. */
const REGION_SIZE = 2 ** 40;
const MOST_VECTORS = 4096;

/** What a client can ask for; what is not here is EINVAL. */
const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [command.VFIO_USER_DMA_MAP, dmaMap],
  [command.VFIO_USER_DMA_UNMAP, dmaUnmap],
  [command.VFIO_USER_DEVICE_GET_INFO, getInfo],
  [command.VFIO_USER_DEVICE_GET_REGION_INFO, getRegionInfo],
  [command.VFIO_USER_DEVICE_GET_REGION_IO_FDS, getRegionIoFds],
  [command.VFIO_USER_DEVICE_GET_IRQ_INFO, getIrqInfo],
  [command.VFIO_USER_DEVICE_SET_IRQS, setIrqs],
  [command.VFIO_USER_REGION_READ, readRegion],
  [command.VFIO_USER_REGION_WRITE, writeRegion],
  [command.VFIO_USER_REGION_WRITE_MULTI, writeMultiple],
  [command.VFIO_USER_DEVICE_RESET, reset],
  [command.VFIO_USER_DEVICE_FEATURE, deviceFeature],
  [command.VFIO_USER_MIG_DATA_READ, readMigrationData],
  [command.VFIO_USER_MIG_DATA_WRITE, writeMigrationData],
]);

/** Does what a message asks for. @throws KernelError, which is the answer */
export function answer(device: ClientDevice, message: Message): Answer {
  const handler = HANDLERS.get(message.command);
  if (!handler) fail("EINVAL", `a client cannot ask for ${command.commandName(message.command)} here`);
  return handler(device, message) ?? {};
}

/** VFIO's structure as its first `known` bytes say it, with room for what the answer adds. */
function inMemory({ task }: ClientDevice, message: Message, known: number, size: number): Uint8Array {
  const room = Math.min(Math.max(size, needBody(message, known).u32(0)), MOST_INFO);
  const bytes = new Uint8Array(room);
  bytes.set(message.body.subarray(0, known));
  new StructView(bytes, true).setU32(0, room);
  task.memory.bytes = bytes;
  return bytes;
}

function argsz(message: Message, least: number): void {
  const said = needBody(message, 4).u32(0);
  if (said < least) fail("EINVAL", `argsz is ${said}, at least ${least} are needed`);
}

function getInfo(device: ClientDevice, message: Message): Answer {
  const { size } = layout.DeviceInfoBody;
  argsz(message, size);
  const bytes = inMemory(device, message, size, VfioDeviceInfo.size);
  device.file.ioctl(device.task, VFIO_DEVICE_GET_INFO, PLACE);
  const { flags, num_regions: regions, num_irqs: irqs } = VfioDeviceInfo.decode(bytes);
  const own = flags & (VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI);
  return { parts: [layout.DeviceInfoBody.encode({ argsz: size, flags: own, regions, irqs })] };
}

/** As VFIO says it, but that only memory can be mapped: nobody would see writes to registers. */
function getRegionInfo(device: ClientDevice, message: Message): Answer {
  const { size, offsets } = VfioRegionInfo;
  argsz(message, size);
  const bytes = inMemory(device, message, size, size);
  const view = new StructView(bytes, true);
  const { index } = VfioRegionInfo.read(view, 0);
  needRegion(index);
  if (!hasInfo(device, VFIO_DEVICE_GET_REGION_INFO))
    return { parts: [VfioRegionInfo.encode({ argsz: size, index, offset: BigInt(index * REGION_SIZE) })] };
  const flags = view.u32(offsets.flags);
  const memory = flags & VFIO_REGION_INFO_FLAG_MMAP ? device.mappable(index) : undefined;
  if (memory === undefined) {
    view.setU32(offsets.flags, flags & ~(VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS));
    view.setU32(offsets.cap_offset, 0);
    view.setU32(0, size);
    return { parts: [bytes.subarray(0, size)] };
  }
  const hasAll = view.u32(offsets.cap_offset) !== 0;
  if (!(flags & VFIO_REGION_INFO_FLAG_CAPS)) view.setU32(0, size);
  return { parts: [bytes.subarray(0, hasAll ? view.u32(0) : size)], descriptors: [memory] };
}

/** There are no eventfds in the place of registers here: a region has none. */
function getRegionIoFds(_device: ClientDevice, message: Message): Answer {
  const { size } = layout.RegionIoFdsBody;
  argsz(message, size);
  needBody(message, size);
  const { flags, index, count } = layout.RegionIoFdsBody.decode(message.body);
  if (flags !== 0 || count !== 0) fail("EINVAL", "flags and count of DEVICE_GET_REGION_IO_FDS are 0 in a question");
  needRegion(index);
  return { parts: [layout.RegionIoFdsBody.encode({ argsz: size, index })] };
}

function getIrqInfo(device: ClientDevice, message: Message): Answer {
  const { size } = VfioIrqInfo;
  argsz(message, size);
  const bytes = inMemory(device, message, size, size);
  const { index } = VfioIrqInfo.decode(bytes);
  needIrq(index);
  if (!hasInfo(device, VFIO_DEVICE_GET_IRQ_INFO)) return { parts: [VfioIrqInfo.encode({ argsz: size, index })] };
  new StructView(bytes, true).setU32(0, size);
  return { parts: [bytes.subarray(0, size)] };
}

/** Whether VFIO says something of an index: where it refuses, clients take "none" (as libvfio-user answers). */
function hasInfo({ file, task }: ClientDevice, request: number): boolean {
  try {
    file.ioctl(task, request, PLACE);
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.code === "EINVAL") return false;
    throw error;
  }
}

/** VFIO's request has the numbers of eventfds behind it, this message the eventfds themselves, or none of them. */
function setIrqs(device: ClientDevice, message: Message): undefined {
  const fixed = VfioIrqSet.endOf("count");
  const view = needBody(message, fixed);
  argsz(message, fixed);
  const { flags, index, start, count } = VfioIrqSet.read(view, 0);
  needIrq(index);
  if (count > MOST_VECTORS) fail("EINVAL", `${count} vectors are more than any device has`);
  const given = message.descriptorCount;
  const isEvents = (flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0;
  if (isEvents ? given !== 0 && given !== count : given !== 0)
    fail("EINVAL", `${given} descriptors came for ${count} vectors`);
  const data = isEvents ? 4 * count : message.body.length - fixed;
  if (flags & VFIO_IRQ_SET_DATA_BOOL && data !== count) fail("EINVAL", `${data} bytes came for ${count} vectors`);
  const bytes = new Uint8Array(fixed + data);
  bytes.set(message.body.subarray(0, isEvents ? fixed : undefined));
  const own = new StructView(bytes, true);
  own.setU32(0, bytes.length);
  const files: FileDescription[] = [];
  try {
    for (let i = 0; isEvents && i < count; i++) {
      const fd = message.takeDescriptor(i);
      own.setS32(fixed + 4 * i, fd === undefined ? -1 : device.hold(fd, files));
    }
    device.task.memory.bytes = bytes;
    device.file.ioctl(device.task, VFIO_DEVICE_SET_IRQS, PLACE);
  } catch (error) {
    // an index is switched off, which it was already
    const isOff = flags === (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER) && start === 0 && count === 0;
    if (!isOff || !(error instanceof KernelError) || error.code !== "EINVAL") throw error;
  } finally {
    device.letGo(files);
  }
  return undefined;
}

function needIrq(index: number): void {
  if (index >= VFIO_PCI_NUM_IRQS)
    fail("EINVAL", `a PCI device has interrupt indexes 0 to ${VFIO_PCI_NUM_IRQS - 1}, not ${index}`);
}

function needRegion(index: number): void {
  if (index >= VFIO_PCI_NUM_REGIONS)
    fail("EINVAL", `a PCI device has regions 0 to ${VFIO_PCI_NUM_REGIONS - 1}, not ${index}`);
}

/** Where in the device's file an access is. */
function placeOf(region: number, offset: bigint, count: number): number {
  needRegion(region);
  if (count > layout.DEFAULT_TRANSFER)
    fail("EINVAL", `an access has at most ${layout.DEFAULT_TRANSFER} bytes, not ${count}`);
  if (offset >= BigInt(REGION_SIZE)) fail("EINVAL", `no region has an offset of ${hex(offset)}`);
  return region * REGION_SIZE + Number(offset);
}

function whole(moved: number, count: number, offset: bigint): void {
  if (moved !== count) fail("EINVAL", `${count} bytes at ${hex(offset)} run past the region`);
}

function readRegion({ file, task, maxTransfer }: ClientDevice, message: Message): Answer {
  needBody(message, layout.RegionAccessBody.size);
  const { offset, region, count } = layout.RegionAccessBody.decode(message.body);
  if (count > maxTransfer) fail("EINVAL", `the client takes at most ${maxTransfer} bytes of data, not ${count}`);
  const place = placeOf(region, offset, count);
  const bytes = new Uint8Array(count);
  task.memory.bytes = bytes;
  whole(file.read(task, PLACE, count, place), count, offset);
  return { parts: [message.body.subarray(0, layout.RegionAccessBody.size), bytes] };
}

function writeRegion(device: ClientDevice, message: Message): Answer {
  const { size } = layout.RegionAccessBody;
  needBody(message, size);
  const { offset, region, count } = layout.RegionAccessBody.decode(message.body);
  if (message.body.length - size !== count)
    fail("EINVAL", `REGION_WRITE of ${count} bytes has ${message.body.length - size}`);
  write(device, offset, region, message.body.subarray(size));
  return { parts: [message.body.subarray(0, size)] };
}

function write({ file, task }: ClientDevice, offset: bigint, region: number, data: Uint8Array): void {
  const place = placeOf(region, offset, data.length);
  task.memory.bytes = data;
  whole(file.write(task, PLACE, data.length, place), data.length, offset);
}

function writeMultiple(device: ClientDevice, message: Message): Answer {
  const head = layout.WriteMultiBody.size;
  needBody(message, head);
  const { count } = layout.WriteMultiBody.decode(message.body);
  const entry = layout.WRITE_MULTI_ENTRY;
  if (BigInt(message.body.length - head) !== count * BigInt(entry))
    fail("EINVAL", `REGION_WRITE_MULTI of ${count} writes has ${message.body.length - head} bytes`);
  for (let at = head; at < message.body.length; at += entry) {
    const access = message.body.subarray(at, at + entry);
    const { offset, region, count: bytes } = layout.RegionAccessBody.decode(access);
    if (bytes > 8) fail("EINVAL", `a write of REGION_WRITE_MULTI has at most 8 bytes, not ${bytes}`);
    const data = layout.RegionAccessBody.size;
    write(device, offset, region, access.subarray(data, data + bytes));
  }
  return { parts: [message.body.subarray(0, head)] };
}

function reset({ file, task }: ClientDevice): undefined {
  file.ioctl(task, VFIO_DEVICE_RESET, 0);
  return undefined;
}
