import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VfioIommuType1DmaMap as DmaMap,
  VfioIommuType1DmaUnmap as DmaUnmap,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
} from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../../vfio/user-struct.ts";
import type { IommufdContext } from "../context.ts";
import { mapNew } from "../memory/map-area.ts";
import { isUsual, mapFlat } from "../memory/map-flat.ts";
import { userSlice } from "../memory/new-pages.ts";
import { cutAfter, cutText, lastOf, refuseLocked, unmapAll, unmapRange } from "../memory/unmap-area.ts";
import { compatIoas } from "../requests/object-requests.ts";

const MAP_SIZE = DmaMap.endOf("size");
const UNMAP_SIZE = DmaUnmap.endOf("size");

const USER_FIELDS = { address: DmaMap.offsets.vaddr, length: DmaMap.offsets.size, iova: DmaMap.offsets.iova };

const user = new UserStruct(Math.max(MAP_SIZE, UNMAP_SIZE));

/** VFIO_IOMMU_MAP_DMA (vfio_compat.c:iommufd_vfio_map_dma). Mapping for neither reading nor writing is allowed here. */
export function mapDma(context: IommufdContext, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MAP_SIZE, "vfio_iommu_type1_dma_map");
  const { flags, vaddr, iova, size } = DmaMap.read(user.view, 0);
  refuseFlags(flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
  const access = {
    readable: (flags & VFIO_DMA_MAP_FLAG_READ) !== 0,
    writeable: (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0,
  };
  const { table } = compatIoas(context);
  if (isUsual(context, user, USER_FIELDS) && mapFlat(context, table, task, user, USER_FIELDS, access)) return 0;
  const slice = userSlice(context, task, vaddr, size, access.writeable);
  mapNew(table, slice, iova, access);
  return 0;
}

/**
 * VFIO_IOMMU_UNMAP_DMA (vfio_compat.c:iommufd_vfio_unmap_dma). The size goes back with an error too, unless a mapping
 * could not be split. A container of version 1 splits mappings at the ends of the range.
 */
export function unmapDma(context: IommufdContext, task: Task, arg: Word): number {
  user.copyInSized(task, arg, UNMAP_SIZE, "vfio_iommu_type1_dma_unmap");
  const { flags, iova, size } = DmaUnmap.read(user.view, 0);
  refuseFlags(flags, VFIO_DMA_UNMAP_FLAG_ALL);
  const { table } = compatIoas(context);
  if (flags & VFIO_DMA_UNMAP_FLAG_ALL) {
    if (iova !== 0n || size !== 0n) fail("EINVAL", "with flag ALL iova and size must be 0");
    const unmapped = unmapAll(table);
    reply(task, arg, unmapped.bytes);
    refuseLocked(unmapped);
    return 0;
  }
  if (table.largePagesDisabled) {
    cutAfter(table, BigInt.asUintN(64, iova + size - 1n));
    if (iova !== 0n) cutAfter(table, iova - 1n);
  }
  let bytes = 0n;
  try {
    const last = lastOf(iova, size);
    const unmapped = unmapRange(table, iova, last);
    bytes = unmapped.bytes;
    refuseLocked(unmapped);
    if (unmapped.cut) fail("ENOENT", `${cutText(iova, last, unmapped.cut)} in a container of type v2`);
  } finally {
    reply(task, arg, bytes);
  }
  return 0;
}

function refuseFlags(flags: number, known: number): void {
  const unknown = (flags & ~known) >>> 0;
  if (unknown) fail("EINVAL", `unknown flag bits ${hex(unknown)} (an iommufd knows: ${hex(known)})`);
}

/** A reply that cannot be written is an error although the mappings are gone. */
function reply(task: Task, arg: Word, bytes: bigint): number {
  DmaUnmap.write(user.view, 0, { size: bytes });
  user.copyOut(task, arg, UNMAP_SIZE);
  return 0;
}
