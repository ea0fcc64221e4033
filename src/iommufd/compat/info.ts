import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { roundUp } from "../../uapi/layout.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../uapi/vfio.ts";
import {
  VfioIommuType1InfoDmaAvail as AvailCapability,
  VfioIommuType1Info as Info,
  VfioIommuType1InfoCapIovaRange as RangeCapability,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VfioIovaRange,
} from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../../vfio/user-struct.ts";
import type { IommufdContext } from "../context.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { compatIoas } from "../requests/object-requests.ts";

const MINIMUM = Info.endOf("iova_pgsizes");
const ALL_SIZES = 2n ** 64n - 1n;
/** Mappings are limited by memory alone; s390's QEMU wants more than type1's 65535 (vfio_compat.c:iommufd_fill_cap_dma_avail). */
const AVAILABLE = 0xffff_ffff;

const user = new UserStruct(Info.size);

/**
 * VFIO_IOMMU_GET_INFO. Unlike type1, argsz always becomes what is needed, and as much of the chain as fits is written although cap_offset is 0
 * then (vfio_compat.c:iommufd_vfio_iommu_get_info).
 */
export function getInfo(context: IommufdContext, task: Task, arg: Word): number {
  user.copyIn(task, arg, MINIMUM);
  const argsz = user.u32(0);
  if (argsz < MINIMUM) {
    fail("EINVAL", `argsz of struct vfio_iommu_type1_info is ${argsz}, at least ${MINIMUM} are needed`);
  }
  const { table } = compatIoas(context);
  const needed = writeChain(table, task, arg, argsz);
  Info.write(user.view, 0, {
    argsz: needed,
    flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: pageSizes(table),
    cap_offset: argsz >= needed ? Info.size : 0,
    pad: 0,
  });
  user.copyOut(task, arg, Math.min(argsz, Info.size));
  return 0;
}

/** Writes the capabilities that there is room for, piece by piece as the kernel does. Returns the bytes that all would take. */
function writeChain(table: IoPageTable, task: Task, arg: Word, argsz: number): number {
  let total: number = Info.size;
  let before: number | undefined;
  for (const write of [writeAvailable, writeRanges]) {
    const room = Math.max(0, argsz - total);
    const size = roundUp(write(table, task, wordAdd(arg, total), room), 8);
    if (before !== undefined && argsz >= total) {
      const next = new Uint8Array(4);
      new StructView(next, task.memory.littleEndian).setU32(0, total);
      task.memory.copyOut(wordAdd(arg, before + VfioInfoCapHeader.offsets.next), next, next.length);
    }
    before = total;
    total += size;
  }
  return total;
}

function writeAvailable(_table: IoPageTable, task: Task, at: Word, room: number): number {
  const header = { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next: 0 };
  const bytes = AvailCapability.encode({ header, avail: AVAILABLE }, 0, task.memory.littleEndian);
  if (room >= bytes.length) task.memory.copyOut(at, bytes, bytes.length);
  return bytes.length;
}

/** The ranges first, each that fits; the head when all fit. */
function writeRanges(table: IoPageTable, task: Task, at: Word, room: number): number {
  const ranges = table.usableRanges();
  for (const [i, { start, last }] of ranges.entries()) {
    const offset = RangeCapability.size + i * VfioIovaRange.size;
    if (room < offset + VfioIovaRange.size) continue;
    const range = VfioIovaRange.encode({ start, end: last }, 0, task.memory.littleEndian);
    task.memory.copyOut(wordAdd(at, offset), range, range.length);
  }
  const size = RangeCapability.size + ranges.length * VfioIovaRange.size;
  const header = { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, next: 0 };
  const head = RangeCapability.encode({ header, nr_iovas: ranges.length }, 0, task.memory.littleEndian);
  if (room >= size) task.memory.copyOut(at, head, head.length);
  return size;
}

/** What all page tables can do, sizes below the kernel's page folded into it (vfio_compat.c:iommufd_get_pagesizes). */
function pageSizes(table: IoPageTable): bigint {
  const { pageSize } = table;
  let sizes = ALL_SIZES;
  for (const { unit } of table.domains) sizes &= unit.pageSizes;
  if (sizes & (pageSize - 1n)) sizes = (sizes & (ALL_SIZES - pageSize + 1n)) | pageSize;
  return sizes > table.alignment ? sizes : table.alignment;
}
