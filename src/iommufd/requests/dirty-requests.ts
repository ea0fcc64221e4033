import type { DirtyPages } from "../../address/dirty-pages.ts";
import type { IovaRange } from "../../address/iova-ranges.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import {
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
  IommuHwptGetDirtyBitmap,
  IommuHwptSetDirtyTracking,
} from "../../uapi/iommufd-hwpt.ts";
import { UserBitmap } from "../../vfio/user-bitmap.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { Hwpt } from "../devices/hwpt.ts";
import { refuseReserved } from "./ioas-requests.ts";

const END = 2n ** 64n;

/** hw_pagetable.c:iommufd_hwpt_set_dirty_tracking. `__reserved` is not looked at there. */
export function setDirtyTracking(context: IommufdContext, command: Command): number {
  const { flags, hwpt_id } = IommuHwptSetDirtyTracking.read(command.view, 0);
  const unknown = (flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)}`);
  const hwpt = findHwpt(context, hwpt_id);
  const dirty = dirtyPagesOf(hwpt);
  const isOn = (flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0;
  // each time it is turned on, also when it was on (io_pagetable.c:iopt_set_dirty_tracking)
  if (isOn) dirty.clear(0n, END - 1n);
  dirty.isTracking = isOn;
  return 0;
}

/** hw_pagetable.c:iommufd_hwpt_get_dirty_bitmap, io_pagetable.c:iommufd_check_iova_range */
export function getDirtyBitmap(context: IommufdContext, command: Command): number {
  const request = IommuHwptGetDirtyBitmap.read(command.view, 0);
  const unknown = (request.flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)}`);
  refuseReserved(request.__reserved);
  const hwpt = findHwpt(context, request.hwpt_id);
  const { iova, page_size } = request;
  const end = iova + BigInt.asUintN(64, request.length - 1n) + 1n;
  if (end > END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(request.length)} runs past 2^64`);
  if (page_size === 0n) fail("EINVAL", "page_size is 0");
  for (const size of [hwpt.ioas.table.alignment, page_size]) {
    if ((iova | end) & (size - 1n))
      fail("EINVAL", `iova ${hex(iova)} or its end ${hex(end)} is no multiple of ${hex(size)}`);
  }
  const dirty = dirtyPagesOf(hwpt);
  const { release, warn } = context.module.context;
  if (!release.has("dirtyBitmapPinnedLate")) refuseUnwritable(command.task, request.data);
  const what = `IOMMU_HWPT_GET_DIRTY_BITMAP of ${hexRange(iova, end - 1n)}`;
  // the driver's error goes no further than its caller (io_pagetable.c:iommu_read_and_clear_dirty)
  if (!dirty.isTracking && !release.has("dirtyBitsOutliveTracking")) {
    warn(`${what} reports nothing: dirty tracking of ${hwpt.label} is off`);
    return 0;
  }
  const bitmap = new UserBitmap(command.task, request.data);
  const clears = (request.flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0;
  const tell = pageBits(bitmap, dirty.pageOf(iova), Number(hwpt.pageSize), page_size);
  const stop = report(hwpt, dirty, { start: iova, last: end - 1n }, clears, tell);
  if (stop !== undefined) warn(`${what} ends at ${hex(stop)}, where nothing is mapped; the kernel tells no error`);
  if (!bitmap.write()) {
    warn(`${what}: the bitmap at ${hex(request.data)} cannot be written; bits are lost, and the kernel tells no error`);
  }
  return 0;
}

/**
 * Goes through the mappings from the first byte on, as long as one follows the other
 * (io_pagetable.c:__iommu_read_and_clear_dirty).
 * @returns where nothing is mapped; undefined when all is
 */
function report(
  { ioas }: Hwpt,
  dirty: DirtyPages,
  { start, last }: IovaRange,
  clears: boolean,
  tell: (page: number) => void,
): bigint | undefined {
  for (let at = start; at <= last; ) {
    const area = ioas.table.areas.meeting(at, at);
    if (!area) return at;
    const end = area.last < last ? area.last : last;
    dirty.each(at, end, tell);
    if (clears) dirty.clear(at, end);
    at = end + 1n;
  }
  return undefined;
}

/**
 * What sets the bits of a page.
 * @param firstPage where the bitmap begins
 * @param bitSize bytes that a bit stands for; of a size that is no power of two its lowest bit counts
 * (iova_bitmap.c:iova_bitmap_alloc)
 */
function pageBits(bitmap: UserBitmap, firstPage: number, pageSize: number, bitSize: bigint): (page: number) => void {
  const bytes = Number(bitSize & -bitSize);
  if (bytes < pageSize) {
    const bits = pageSize / bytes;
    return (page) => bitmap.set((page - firstPage) * bits, bits);
  }
  const pages = bytes / pageSize;
  return (page) => bitmap.set(Math.floor((page - firstPage) / pages), 1);
}

/**
 * The bitmap's first page was pinned before anything else, and any error of that became ENOMEM
 * (iova_bitmap.c:iova_bitmap_alloc).
 */
function refuseUnwritable({ memory }: Task, data: bigint): void {
  const page = data - (data % BigInt(memory.pageSize));
  if (page <= Number.MAX_SAFE_INTEGER && memory.pinnable(Number(page), 1, true) === 1) return;
  fail("ENOMEM", `the bitmap at ${hex(data)} is not writable memory`);
}

function findHwpt(context: IommufdContext, id: number): Hwpt {
  return context.objects.find(id, Hwpt, "hwpt");
}

function dirtyPagesOf(hwpt: Hwpt): DirtyPages {
  return (
    hwpt.dirty ?? fail("EOPNOTSUPP", `${hwpt.label} was not made for dirty tracking (IOMMU_HWPT_ALLOC_DIRTY_TRACKING)`)
  );
}
