import { LAST_PAGE, pageFromHalves, pageHigh, pageLow, pageRunBytes, wraps } from "../../address/pages.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VfioBitmap,
  VfioIommuType1DmaUnmap,
} from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../user-struct.ts";
import { cutAt } from "./cut-mappings.ts";
import { type BitmapRequest, checkBitmap, writeBitmap } from "./dirty-pages.ts";
import { pageText } from "./explain.ts";
import type { Type1Iommu } from "./iommu.ts";
import { MAP_VADDR_INVALID } from "./mapping-table.ts";

const SIZE = VfioIommuType1DmaUnmap.endOf("size");
const AT = VfioIommuType1DmaUnmap.offsets;

const user = new UserStruct(SIZE + VfioBitmap.size);

/** VFIO_IOMMU_UNMAP_DMA. Checks in the order of vfio_iommu_type1.c:vfio_iommu_type1_unmap_dma and vfio_dma_do_unmap. */
export function unmapDma(iommu: Type1Iommu, task: Task, arg: Word): number {
  user.copyInSized(task, arg, SIZE, "vfio_iommu_type1_dma_unmap");
  const flags = user.u32(AT.flags);
  const known = iommu.knownUnmapFlags;
  if (flags & ~known) fail("EINVAL", `unknown flag bits ${hex((flags & ~known) >>> 0)} (known: ${hex(known)})`);
  const bitmap = flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP ? readBitmapRequest(iommu, task, arg, flags) : undefined;

  const pages = doUnmap(iommu, task, flags, bitmap);
  if (!iommu.reportsUnmapSize) return 0;
  user.setHalves(AT.size, pageLow(pages), pageHigh(pages));
  // a reply that cannot be written is an error although the mappings are gone
  return user.answer(task, arg, SIZE, iommu.context.release);
}

function readBitmapRequest(iommu: Type1Iommu, task: Task, arg: Word, flags: number): BitmapRequest {
  if (flags & (VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR)) {
    fail("EINVAL", "flag GET_DIRTY_BITMAP goes neither with ALL nor with VADDR");
  }
  const argsz = user.u32(AT.argsz);
  if (argsz < SIZE + VfioBitmap.size) {
    fail(
      "EINVAL",
      `argsz ${argsz} leaves no room for the struct vfio_bitmap behind it, ${SIZE + VfioBitmap.size} are needed`,
    );
  }
  user.copyInTail(task, arg, SIZE, VfioBitmap.size);
  const request = VfioBitmap.read(user.view, SIZE);
  checkBitmap(iommu, request, user.u64(AT.size));
  return request;
}

/** Returns how many 4 KiB pages were unmapped. */
function doUnmap(iommu: Type1Iommu, task: Task, flags: number, bitmap: BitmapRequest | undefined): number {
  const { byIova } = iommu.mappings;
  const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
  const invalidate = (flags & VFIO_DMA_UNMAP_FLAG_VADDR) !== 0;
  if (invalidate && iommu.emulatedGroups.length > 0) {
    fail("EBUSY", "a mediated device in the container may be using the vaddrs; detach it before they are taken away");
  }
  const iovaLow = user.low(AT.iova);
  const iovaHigh = user.high(AT.iova);
  const sizeLow = user.low(AT.size);
  const sizeHigh = user.high(AT.size);
  const mask = iommu.pageBytes - 1;
  if (iovaLow & mask) fail("EINVAL", `iova ${hex(user.u64(AT.iova))} is not a multiple of ${pageText(iommu)}`);

  let iovaPage = 0;
  let pages = LAST_PAGE + 1;
  if (all) {
    if (iovaLow | iovaHigh | sizeLow | sizeHigh) fail("EINVAL", "with flag ALL iova and size must be 0");
  } else {
    const isEmpty = (sizeLow | sizeHigh) === 0;
    if (isEmpty && !iommu.reportsUnmapSize) return 0;
    if (isEmpty) fail("EINVAL", "the size is 0 (to unmap everything use VFIO_DMA_UNMAP_FLAG_ALL)");
    if (sizeLow & mask) fail("EINVAL", `size ${hex(user.u64(AT.size))} is not a multiple of ${pageText(iommu)}`);
    if (wraps(iovaLow, iovaHigh, sizeLow, sizeHigh)) {
      if (!iommu.context.release.has("unmapWrapChecked")) return 0;
      const reason = `iova ${hex(user.u64(AT.iova))} plus size ${hex(user.u64(AT.size))} runs past 2^64`;
      fail(iommu.overflowErrno ? "EOVERFLOW" : "EINVAL", reason);
    }
    iovaPage = pageFromHalves(iovaLow, iovaHigh);
    pages = pageFromHalves(sizeLow, sizeHigh);
  }
  if (bitmap) {
    if (!iommu.dirtyTracking) fail("EINVAL", "a dirty bitmap is asked for but dirty tracking is off");
    if (bitmap.pgsize !== BigInt(iommu.pageBytes)) {
      fail("EINVAL", `the bitmap's page size ${hex(bitmap.pgsize)} is not ${pageText(iommu)}`);
    }
  }
  const last = iovaPage + pages - 1;
  if (last === LAST_PAGE && !all && iommu.context.release.has("lastByteUnmapRefused")) {
    fail(
      "EINVAL",
      "a range up to the last byte of the address space is refused from 4.15 to 4.20 (58fec830fc19 mends it)",
    );
  }
  if (!iommu.keepsMappingsWhole) cutAt(iommu, iovaPage, last);
  const met = iommu.v2 && !all ? seekUncut(iommu, iovaPage, last) : byIova.seek(iovaPage);
  if (last === LAST_PAGE && !all && !iommu.lastByteUsable) {
    if (met) {
      iommu.context.warn(
        `VFIO_IOMMU_UNMAP_DMA up to the last byte of the address space unmaps nothing and returns success: iova + size is 0, a defect of kernels before 6.18 (ef270ec4c5d1); ${iommu.describeHere()} stays`,
      );
    }
    return 0;
  }
  if (!met || byIova.start > last) return 0;
  // v1: a range that begins inside a mapping takes nothing (vfio_iommu_type1.c:vfio_dma_do_unmap, the v1 comment)
  if (!iommu.v2 && byIova.start < iovaPage) {
    if (!iommu.partialUnmapSaid) iommu.context.warn(explainNothing(iommu, iovaPage, pages));
    iommu.partialUnmapSaid = true;
    return 0;
  }
  if (invalidate) return invalidateVaddrs(iommu, last);
  // nobody is to be told, so that they go all at once
  if (all && iommu.mappings.external.size === 0) return iommu.removeAllMappings();
  return removeRange(iommu, task, iovaPage, last, bitmap);
}

function explainNothing(iommu: Type1Iommu, iovaPage: number, pages: number): string {
  const bytes = pageRunBytes(iovaPage, pages);
  return `VFIO_IOMMU_UNMAP_DMA of ${hexRange(bytes.start, bytes.last)} took nothing and returned 0 with size 0: it begins inside ${iommu.describeHere()}, which a container of version 1 unmaps as a whole and from its first byte on (version 2 says EINVAL)`;
}

/** seek() for a v2 request, which must cover the mappings that it meets as a whole. */
function seekUncut(iommu: Type1Iommu, iovaPage: number, last: number): boolean {
  const { byIova } = iommu.mappings;
  if (!byIova.seek(iovaPage)) return false;
  if (byIova.start < iovaPage) failCut(iommu, iovaPage, last);
  // as a rule a request names one mapping, or a gap
  if (byIova.start > last || byIova.start + byIova.pages - 1 === last) return true;
  if (byIova.overlaps(last, 1) && byIova.start + byIova.pages - 1 !== last) failCut(iommu, iovaPage, last);
  return byIova.seek(iovaPage);
}

function failCut(iommu: Type1Iommu, iovaPage: number, last: number): never {
  const bytes = pageRunBytes(iovaPage, last - iovaPage + 1);
  fail(
    "EINVAL",
    `${hexRange(bytes.start, bytes.last)} would cut ${iommu.describeHere()}; a v2 container unmaps whole mappings only`,
  );
}

/** VFIO_DMA_UNMAP_FLAG_VADDR from the cursor on; all of them or none. */
function invalidateVaddrs(iommu: Type1Iommu, last: number): number {
  const { mappings } = iommu;
  const { byIova } = mappings;
  const first = byIova.start;
  let pages = 0;
  let more = true;
  for (; more && byIova.start <= last; more = byIova.next()) {
    const slot = byIova.value;
    if (mappings.flagsOf(slot) & MAP_VADDR_INVALID) {
      const which = iommu.describeHere();
      const end = byIova.start;
      for (let back = byIova.seek(first); back && byIova.start < end; back = byIova.next()) {
        mappings.clearFlag(byIova.value, MAP_VADDR_INVALID);
        iommu.vaddrInvalidCount--;
      }
      fail("EINVAL", `the vaddr of ${which} was taken away already`);
    }
    mappings.setFlag(slot, MAP_VADDR_INVALID);
    iommu.vaddrInvalidCount++;
    pages += byIova.pages;
  }
  return pages;
}

function removeRange(
  iommu: Type1Iommu,
  task: Task,
  iovaPage: number,
  last: number,
  bitmap: BitmapRequest | undefined,
): number {
  const { mappings } = iommu;
  const { byIova } = mappings;
  const most = last - iovaPage + 1;
  let pages = 0;
  let more = true;
  // as a rule the first mapping is all of the range, and the next need not be looked at
  while (more && pages < most && byIova.start <= last) {
    if (mappings.external.size > 0 && mappings.external.has(byIova.value)) {
      const at = byIova.start;
      iommu.notifyUnmap();
      if (!byIova.seek(at)) break;
      iommu.releaseExternalPins(byIova.value);
    }
    // an unwritable bitmap ends the request; mappings before this one are gone, as in the kernel
    if (bitmap) writeBitmap(iommu, task, bitmap, iovaPage);
    pages += byIova.pages;
    more = iommu.removeMappingHere();
  }
  return pages;
}
