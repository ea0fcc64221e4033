import { PCI_BASE_ADDRESS_0, ROM_BAR } from "../../devices/pci/registers.ts";
import { DmaBuf, DmaBufFile } from "../../kernel/dma-buf.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VFIO_DEVICE_FEATURE_GET, VfioDeviceFeatureDmaBuf, VfioRegionDmaRange } from "../../uapi/vfio-feature.ts";
import { checkFeature, FEATURE_DATA, type FeatureRequest } from "../feature-request.ts";
import { UserStruct } from "../user-struct.ts";
import { BarMemory } from "./bar-memory.ts";
import type { OpenDevice } from "./open-device.ts";

const LAYOUT = VfioDeviceFeatureDmaBuf;
const RANGE = VfioRegionDmaRange;
const END = 2n ** 64n;
/** The largest list of ranges that a kernel allocates: KMALLOC_MAX_SIZE. */
const RANGES_MAX = 2 ** 22 / RANGE.size;
/** DMA_IOVA_USE_SWIOTLB */
const SIZE_END = 2n ** 63n;
/** asm-generic/fcntl.h, as all that have VFIO have it */
const O_CLOEXEC = 0o2000000;
/** The address bits of a base address register, and what says that the next one has the upper half. */
const BAR_ADDRESS = 0xffff_fff0;
const BAR_TYPE = 7;
const BAR_64_BITS = 4;

const user = new UserStruct(LAYOUT.size);

interface Range {
  readonly offset: bigint;
  readonly length: bigint;
}

/**
 * VFIO_DEVICE_FEATURE_DMA_BUF: parts of a BAR as a descriptor, by which other devices are let reach it
 * (vfio_pci_dmabuf.c:vfio_pci_core_feature_dma_buf).
 * @returns the descriptor
 */
export function exportDmaBuf(device: OpenDevice, task: Task, arg: Word, request: FeatureRequest): number {
  if (!checkFeature(request, VFIO_DEVICE_FEATURE_GET, LAYOUT.size)) return 0;
  const data = wordAdd(arg, FEATURE_DATA);
  user.copyIn(task, data, LAYOUT.size);
  const { region_index: index, open_flags, flags, nr_ranges } = LAYOUT.read(user.view, 0);
  if (nr_ranges === 0) fail("EINVAL", "nr_ranges is 0");
  if (flags !== 0) fail("EINVAL", "no flags of a dma-buf are known");
  const { target } = device;
  const bar = index < ROM_BAR ? target.bar(index) : undefined;
  const isChecked = device.context.release.has("dmaBufBarChecked");
  if (index >= ROM_BAR || (isChecked && bar === undefined)) fail("ENODEV", `${target.name} has no BAR ${index}`);
  if (isChecked && bar?.claimedBy !== undefined) {
    fail("ENODEV", `BAR ${index} of ${target.name} belongs to ${bar.claimedBy} (/proc/iomem shows who has it)`);
  }
  const ranges = readRanges(task, wordAdd(data, LAYOUT.size), nr_ranges);
  if (bar === undefined || bar.type === "io") fail("EINVAL", `BAR ${index} of ${target.name} is no memory`);
  refuseOutside(ranges, barAddress(device, index), BigInt(bar.size), index);
  const size = Number(ranges.reduce((sum, { length }) => sum + length, 0n));
  const memory = new BarMemory(device, index, Number(ranges[0]!.offset));
  const buf = new DmaBuf(memory, size, ranges.length === 1);
  device.dmaBufs.add(buf, !device.isMemoryOn);
  const file = new DmaBufFile(buf);
  try {
    return task.files.install(file, (open_flags & O_CLOEXEC) !== 0);
  } catch (error) {
    file.release();
    throw error;
  }
}

/** vfio_pci_dmabuf.c:validate_dmabuf_input. EFAULT, ENOMEM, EINVAL. */
function readRanges(task: Task, address: Word, count: number): Range[] {
  const { memory } = task;
  if (count > RANGES_MAX) fail("ENOMEM", `${count} ranges are more than a kernel has room for (${RANGES_MAX})`);
  const bytes = new Uint8Array(count * RANGE.size);
  memory.copyIn(address, bytes, bytes.length);
  const view = new StructView(bytes, memory.littleEndian);
  const page = BigInt(memory.pageSize);
  let total = 0n;
  return Array.from({ length: count }, (_, i) => {
    const range = RANGE.read(view, i * RANGE.size);
    const { offset, length } = range;
    if (length === 0n || offset % page !== 0n || length % page !== 0n) {
      fail("EINVAL", `range ${i}, ${hex(length)} bytes at ${hex(offset)}, is empty or not made of whole pages`);
    }
    total += length;
    if (total >= SIZE_END) fail("EINVAL", "the ranges have 2^63 bytes or more together");
    return range;
  });
}

/** vfio_pci_dmabuf.c:vfio_pci_core_fill_phys_vec. EOVERFLOW, EINVAL. */
function refuseOutside(ranges: readonly Range[], address: bigint, size: bigint, index: number): void {
  for (const { offset, length } of ranges) {
    const text = `${hex(length)} bytes at ${hex(offset)}`;
    if (address + offset + length >= END) fail("EOVERFLOW", `${text} of BAR ${index} run past 2^64`);
    if (offset + length > size) fail("EINVAL", `BAR ${index} has ${hex(size)} bytes; ${text} are not in it`);
  }
}

/** Where the host has the BAR. */
function barAddress({ target }: OpenDevice, index: number): bigint {
  const at = PCI_BASE_ADDRESS_0 + index * 4;
  const low = target.readConfig(at, 4);
  const high = (low & BAR_TYPE) === BAR_64_BITS ? target.readConfig(at + 4, 4) : 0;
  return (BigInt(high >>> 0) << 32n) | BigInt((low & BAR_ADDRESS) >>> 0);
}
