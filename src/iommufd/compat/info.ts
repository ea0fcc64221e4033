import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import type { CapabilityStructure } from "../../uapi/capability-chain.ts";
import { roundUp } from "../../uapi/layout.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../uapi/vfio.ts";
import { VfioIommuType1Info as Info, VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_INFO_PGSIZES } from "../../uapi/vfio-type1.ts";
import { availableMappings, type CapabilitySource, toldBy, usableRanges } from "../../vfio/capability-source.ts";
import { UserStruct } from "../../vfio/user-struct.ts";
import type { IommufdContext } from "../context.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { compatIoas } from "../requests/object-requests.ts";

const MINIMUM = Info.endOf("iova_pgsizes");
const ALL_SIZES = 2n ** 64n - 1n;
/**
 * Mappings are limited by memory alone; s390's QEMU wants more than type1's 65535
 * (vfio_compat.c:iommufd_fill_cap_dma_avail).
 */
const AVAILABLE = 0xffff_ffff;

/** In the order in which the kernel adds them (vfio_compat.c:iommufd_vfio_iommu_get_info). */
const SOURCES: readonly CapabilitySource<IoPageTable>[] = [
  (_table, littleEndian) => availableMappings(AVAILABLE, littleEndian),
  (table, littleEndian) => usableRanges(table.usableRanges(), littleEndian),
];

const user = new UserStruct(Info.size);

/**
 * VFIO_IOMMU_GET_INFO. Unlike type1, argsz always becomes what is needed, and as much of the chain as fits is written
 * although cap_offset is 0 then (vfio_compat.c:iommufd_vfio_iommu_get_info).
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

/**
 * Writes the capabilities that there is room for, piece by piece as the kernel does. Returns the bytes that all would
 * take.
 */
function writeChain(table: IoPageTable, task: Task, arg: Word, argsz: number): number {
  let total: number = Info.size;
  let before: number | undefined;
  for (const capability of toldBy(SOURCES, table, task.memory.littleEndian)) {
    const room = Math.max(0, argsz - total);
    writeStructure(capability, task, wordAdd(arg, total), room);
    if (before !== undefined && argsz >= total) {
      const next = new Uint8Array(4);
      new StructView(next, task.memory.littleEndian).setU32(0, total);
      task.memory.copyOut(wordAdd(arg, before + VfioInfoCapHeader.offsets.next), next, next.length);
    }
    before = total;
    total += roundUp(capability.structure.length, 8);
  }
  return total;
}

/** The entries of a list first, each that fits; the rest when all fit. */
function writeStructure(capability: CapabilityStructure, task: Task, at: Word, room: number): void {
  const { id, version, structure, entries = { first: structure.length, size: 1 } } = capability;
  const { first, size } = entries;
  for (let offset = first; offset + size <= Math.min(room, structure.length); offset += size) {
    task.memory.copyOut(wordAdd(at, offset), structure.subarray(offset), size);
  }
  if (room < structure.length) return;
  VfioInfoCapHeader.write(new StructView(structure, task.memory.littleEndian), 0, { id, version, next: 0 });
  task.memory.copyOut(at, structure, first);
}

/** What all page tables can do, sizes below the kernel's page folded into it (vfio_compat.c:iommufd_get_pagesizes). */
function pageSizes(table: IoPageTable): bigint {
  const { pageSize } = table;
  let sizes = ALL_SIZES;
  for (const { unit } of table.domains) sizes &= unit.pageSizes;
  if (sizes & (pageSize - 1n)) sizes = (sizes & (ALL_SIZES - pageSize + 1n)) | pageSize;
  return sizes > table.alignment ? sizes : table.alignment;
}
