import { addressToPage, PAGE_SIZE, pageFromHalves, pageRunBytes, wraps } from "../../address/pages.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { CAP_IPC_LOCK, type Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { ERRNO } from "../../uapi/errno.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VfioIommuType1DmaMap,
} from "../../uapi/vfio-type1.ts";
import { errorState } from "../error-state.ts";
import { UserStruct } from "../user-struct.ts";
import { explainOutside } from "./explain.ts";
import type { Type1Iommu } from "./iommu.ts";
import { MAP_LOCK_CAPABLE, MAP_VADDR_INVALID } from "./mapping-table.ts";

const SIZE = VfioIommuType1DmaMap.endOf("size");
const AT = VfioIommuType1DmaMap.offsets;
const ACCESS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

const user = new UserStruct(SIZE);

/** VFIO_IOMMU_MAP_DMA. Checks in the order of vfio_iommu_type1.c:vfio_dma_do_map. */
export function mapDma(iommu: Type1Iommu, task: Task, arg: Word): number {
  user.copyInSized(task, arg, SIZE, "vfio_iommu_type1_dma_map");
  const flags = user.u32(AT.flags);
  const known = iommu.knownMapFlags;
  if (flags & ~known) fail("EINVAL", `unknown flag bits ${hex((flags & ~known) >>> 0)} (known: ${hex(known)})`);

  const vaddrLow = user.low(AT.vaddr);
  const vaddrHigh = user.high(AT.vaddr);
  const iovaLow = user.low(AT.iova);
  const iovaHigh = user.high(AT.iova);
  const sizeLow = user.low(AT.size);
  const sizeHigh = user.high(AT.size);
  const isEmpty = sizeLow === 0 && sizeHigh === 0;
  const wrapsAround =
    !isEmpty && (wraps(iovaLow, iovaHigh, sizeLow, sizeHigh) || wraps(vaddrLow, vaddrHigh, sizeLow, sizeHigh));

  if (iommu.overflowErrno) {
    if (isEmpty) fail("EINVAL", "the size is 0");
    if (wrapsAround) fail("EOVERFLOW", explainWrap());
  }

  const setVaddr = (flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0;
  if (setVaddr && flags & ACCESS)
    fail("EINVAL", "flag VADDR goes without READ and WRITE: it only moves a mapping's vaddr");
  if (!setVaddr && !(flags & ACCESS)) fail("EINVAL", "neither READ nor WRITE is asked for");

  if (isEmpty) fail("EINVAL", "the size is 0");
  if ((vaddrLow | iovaLow | sizeLow) & (iommu.pageBytes - 1)) {
    fail(
      "EINVAL",
      `iova ${hex(user.u64(AT.iova))}, vaddr ${hex(user.u64(AT.vaddr))} and size ${hex(user.u64(AT.size))} must be multiples of the smallest IOMMU page, ${hex(iommu.pageBytes)}`,
    );
  }
  if (wrapsAround) fail("EINVAL", explainWrap());

  const iovaPage = pageFromHalves(iovaLow, iovaHigh);
  const vaddrPage = pageFromHalves(vaddrLow, vaddrHigh);
  const pages = pageFromHalves(sizeLow, sizeHigh);
  const { mappings } = iommu;
  const occupied = mappings.byIova.overlaps(iovaPage, pages);
  if (setVaddr) return giveVaddr(iommu, task, occupied, iovaPage, vaddrPage, pages);
  if (occupied) {
    const errno = iommu.context.release.has("overlapErrno") ? "EEXIST" : "EBUSY";
    fail(errno, `iova ${runText(iovaPage, pages)} overlaps ${iommu.describeHere()}; unmap that first`);
  }
  if (iommu.isFull) {
    fail(
      "ENOSPC",
      `the container has all ${iommu.entryLimit} mappings that it may have; raise vfio_iommu_type1.dma_entry_limit before the container gets its IOMMU, or map larger pieces`,
    );
  }
  if (!iommu.validRanges.isEmpty && !iommu.validRanges.holds(iovaPage, pages)) {
    fail("EINVAL", explainOutside(iommu, iovaPage, pages));
  }

  if (iommu.validRanges.isEmpty) refuseBeyond(iommu, iovaPage, pages);

  const mapFlags = (flags & ACCESS) | (task.capable(CAP_IPC_LOCK) ? MAP_LOCK_CAPABLE : 0);
  const slot = mappings.add(iovaPage, pages, vaddrPage, mapFlags, task.memory);
  // with mediated devices alone nothing is pinned, nor even looked at, until a driver pins it
  mappings.hearLimit(task);
  if (iommu.domains.length > 0) {
    const result = iommu.pinMapping(slot, pages);
    if (result < 0) {
      iommu.removeMappingHere();
      failPin(task, result, vaddrPage, pages, (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0);
    }
    refuseErrors(iommu);
  }
  if (iommu.dirtyTracking && !iommu.startBitmap(slot, pages)) {
    iommu.removeMappingHere();
    fail("EINVAL", "dirty tracking is on and the mapping has more pages than a dirty bitmap can have (2^31 - 1)");
  }
  return 0;
}

/** s390: translations cannot be refreshed for a function in the error state (s390-iommu.c:s390_iommu_map_pages). */
function refuseErrors(iommu: Type1Iommu): void {
  for (const { groups } of iommu.domains) {
    for (const { group } of groups) {
      const device = iommu.context.errors.find(group.iommuGroup.deviceNames);
      if (device === undefined) continue;
      iommu.removeMappingHere();
      fail("EIO", errorState(device));
    }
  }
}

/**
 * Before the container knew valid ranges the drivers said where their tables end, the newest domain's first
 * (vfio_iommu_map).
 */
function refuseBeyond(iommu: Type1Iommu, iovaPage: number, pages: number): void {
  for (const { unit } of iommu.domains) {
    if (unit.beyondAperture === undefined || iovaPage + pages <= addressToPage(unit.apertureLast) + 1) continue;
    fail(unit.beyondAperture, `iova ${runText(iovaPage, pages)} lies beyond what ${unit.label} translates`);
  }
}

/** VFIO_DMA_MAP_FLAG_VADDR: gives a mapping whose vaddr was invalidated its new one. */
function giveVaddr(
  iommu: Type1Iommu,
  task: Task,
  found: boolean,
  iovaPage: number,
  vaddrPage: number,
  pages: number,
): number {
  const { mappings } = iommu;
  if (!found) fail("ENOENT", `no mapping at iova ${runText(iovaPage, pages)} to give a vaddr to`);
  const slot = mappings.byIova.value;
  if (!(mappings.flagsOf(slot) & MAP_VADDR_INVALID)) {
    fail("EINVAL", `the vaddr of ${iommu.describeHere()} was not taken away (VFIO_DMA_UNMAP_FLAG_VADDR comes first)`);
  }
  if (mappings.byIova.start !== iovaPage || mappings.byIova.pages !== pages) {
    fail("EINVAL", `a vaddr is given to a whole mapping; ${runText(iovaPage, pages)} is not ${iommu.describeHere()}`);
  }
  changeOwner(iommu, task, slot);
  mappings.setVaddrPage(slot, vaddrPage);
  mappings.clearFlag(slot, MAP_VADDR_INVALID);
  iommu.vaddrInvalidCount--;
  if (iommu.watchers.size > 0 && mappings.byIova.overlaps(iovaPage, pages)) {
    const range = iommu.rangeHere();
    for (const watcher of iommu.watchers) {
      watcher.unmapped(range.iova, range.size);
      watcher.mapped(range);
    }
  }
  return 0;
}

/** The pages' charge moves to the process that gives the new vaddr (vfio_change_dma_owner). */
function changeOwner(iommu: Type1Iommu, task: Task, slot: number): void {
  const { mappings } = iommu;
  const old = mappings.spaceOf(slot);
  const space = task.memory;
  if (old === space) return;
  const pages = mappings.chargedHere(slot);
  const capable = task.capable(CAP_IPC_LOCK);
  const limit = Math.floor(task.memlockLimit() / space.pageSize);
  if (!capable && space.lockedPages + space.foreignLockedPages() + pages > limit) {
    fail(
      "ENOMEM",
      `RLIMIT_MEMLOCK of the new owner allows ${limit} locked pages, ${space.lockedPages} are locked, ${pages} come in`,
    );
  }
  old.lockedPages -= pages;
  space.lockedPages += pages;
  mappings.setSpace(slot, space);
  mappings.hearLimit(task);
  if (capable) mappings.setFlag(slot, MAP_LOCK_CAPABLE);
  else mappings.clearFlag(slot, MAP_LOCK_CAPABLE);
}

function failPin(task: Task, result: number, vaddrPage: number, pages: number, write: boolean): never {
  const vaddr = runText(vaddrPage, pages);
  if (result === -ERRNO.ENOMEM) {
    const space = task.memory;
    const limit = task.memlockLimit();
    const locked = (space.lockedPages + space.foreignLockedPages()) * space.pageSize;
    fail(
      "ENOMEM",
      `RLIMIT_MEMLOCK is ${hex(limit)} bytes, ${hex(locked)} are locked, ${hex(pages * PAGE_SIZE)} more are needed; raise the limit (ulimit -l) or give CAP_IPC_LOCK`,
    );
  }
  fail(
    "EFAULT",
    `memory at vaddr ${vaddr} cannot be pinned: some of it is not mapped or not ${write ? "writable" : "readable"}`,
  );
}

function explainWrap(): string {
  return `iova ${hex(user.u64(AT.iova))} or vaddr ${hex(user.u64(AT.vaddr))} plus size ${hex(user.u64(AT.size))} runs past 2^64`;
}

function runText(page: number, pages: number): string {
  const bytes = pageRunBytes(page, pages);
  return hexRange(bytes.start, bytes.last);
}
