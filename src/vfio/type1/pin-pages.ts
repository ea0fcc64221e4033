import { addressToPage, PAGE_SIZE, pageToAddress } from "../../address/pages.ts";
import type { PinnedPage } from "../../devices/mediated/mediated-model.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { ExternalPins } from "./external-pins.ts";
import type { AttachedGroup, Type1Iommu } from "./iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/** VFIO_PIN_PAGES_MAX_ENTRIES: a page full of addresses. */
const BYTES_PER_ENTRY = 8;

/**
 * vfio_pin_pages() for the driver of a mediated device: holds pages of mappings so that the device may reach them, all
 * of them or none (vfio_iommu_type1.c:vfio_iommu_type1_pin_pages). Pages held are dirty as long as they are held. With
 * no IOMMU in the container they are charged here, to the process that made the mapping and up to its RLIMIT_MEMLOCK.
 * @param iova a multiple of the host's page
 * @param count pages of the host's size
 * @throws KernelError E2BIG, EACCES (v1), EBUSY (vaddrs are taken away), EINVAL (not mapped), EPERM (mapped for less),
 * ENOMEM, EFAULT
 */
export function pinPages(
  iommu: Type1Iommu,
  caller: Task | undefined,
  group: DmaGroup,
  iova: bigint,
  count: number,
  write: boolean,
): readonly PinnedPage[] {
  if (count === 0) fail("EINVAL", "no pages are to be pinned");
  const most = iommu.context.pageSize / BYTES_PER_ENTRY;
  if (count > most) fail("E2BIG", `${count} pages are to be pinned at once, at most ${most} can be`);
  if (!iommu.v2) fail("EACCES", "a mediated device can pin pages in v2 containers only (VFIO_TYPE1v2_IOMMU)");
  if (iommu.vaddrInvalidCount > 0) fail("EBUSY", "mappings wait for their new vaddr (VFIO_DMA_MAP_FLAG_VADDR)");
  if (iommu.listeners.length === 0) fail("EINVAL", "no driver in the container would hear of mappings that go");
  if (caller) iommu.mappings.hearLimit(caller);
  const first = addressToPage(iova);
  const step = iommu.context.pageSize / PAGE_SIZE;
  const pages: PinnedPage[] = [];
  for (let done = 0; done < count; done++) {
    try {
      pages.push(pinOne(iommu, first + done * step, write));
    } catch (error) {
      for (let undo = 0; undo < done; undo++) unpinOne(iommu, first + undo * step);
      throw error;
    }
  }
  declareScope(iommu, group);
  return pages;
}

/** vfio_unpin_pages(): gives references back; a page that is not held is passed over. */
export function unpinPages(iommu: Type1Iommu, iova: bigint, count: number): void {
  const first = addressToPage(iova);
  const step = iommu.context.pageSize / PAGE_SIZE;
  for (let done = 0; done < count; done++) unpinOne(iommu, first + done * step);
}

/**
 * vfio_dma_rw(): the driver reads or writes memory through mappings without holding it; what is written is dirty once.
 * A request that fails has written what lies before the mapping that refuses
 * (vfio_iommu_type1.c:vfio_iommu_type1_dma_rw).
 * @throws KernelError EBUSY, EINVAL (not mapped), EPERM (not mapped for that; also for writing, READ must be allowed),
 * EFAULT (also for another process's memory)
 */
export function accessMemory(
  iommu: Type1Iommu,
  caller: Task | undefined,
  iova: bigint,
  bytes: Uint8Array,
  write: boolean,
): void {
  if (bytes.length === 0) fail("EINVAL", "no bytes are to be moved");
  if (iommu.vaddrInvalidCount > 0) fail("EBUSY", "mappings wait for their new vaddr (VFIO_DMA_MAP_FLAG_VADDR)");
  const { mappings } = iommu;
  for (let done = 0; done < bytes.length; ) {
    const at = iova + BigInt(done);
    const slot = findMapping(iommu, addressToPage(at), at);
    if (!(mappings.flagsOf(slot) & MAP_READ) || (write && !(mappings.flagsOf(slot) & MAP_WRITE))) {
      fail("EPERM", `${iommu.describeHere()} does not allow a mediated device to ${write ? "write" : "read"} it`);
    }
    const { start, pages } = mappings.byIova;
    const offset = at - pageToAddress(start);
    const count = Math.min(bytes.length - done, Number(BigInt(pages) * BigInt(PAGE_SIZE) - offset));
    const piece = bytes.subarray(done, done + count);
    const address = wordFromBigInt(pageToAddress(mappings.vaddrPageOf(slot)) + offset);
    const space = mappings.spaceOf(slot);
    if (caller && caller.memory !== space) {
      fail("EFAULT", `${iommu.describeHere()} shows memory of another process than ${caller.name}[${caller.pid}]`);
    }
    if (write) {
      space.copyOut(address, piece, count);
      const unit = BigInt(iommu.pageBytes);
      const firstBit = Number(offset / unit);
      const lastBit = Number((offset + BigInt(count) - 1n) / unit);
      mappings.dirty.get(slot)?.set(firstBit, lastBit - firstBit + 1);
    } else {
      space.copyIn(address, piece, count);
    }
    done += count;
  }
}

function pinOne(iommu: Type1Iommu, page: number, write: boolean): PinnedPage {
  const { mappings } = iommu;
  const slot = findMapping(iommu, page, pageToAddress(page));
  if (write && !(mappings.flagsOf(slot) & MAP_WRITE))
    fail("EPERM", `${iommu.describeHere()} is not mapped for writing`);
  const pins = mappings.external.get(slot) ?? new ExternalPins();
  const start = mappings.byIova.start;
  const space = mappings.spaceOf(slot);
  const vaddr = (mappings.vaddrPageOf(slot) + page - start) * PAGE_SIZE;
  const held = pins.find(page);
  if (held && pins.again(page)) return pinnedPage(space, held.pin, vaddr);
  // with an IOMMU all pages of the mapping are held and charged already
  const charges = iommu.domains.length === 0;
  const memlock = mappings.limitOf(slot);
  const budget = charges ? iommu.lockBudget(slot) : Number.POSITIVE_INFINITY;
  const pin = space.pin(vaddr, 1, (mappings.flagsOf(slot) & MAP_WRITE) !== 0, budget);
  if (pin === -ERRNO.ENOMEM) {
    fail(
      "ENOMEM",
      `RLIMIT_MEMLOCK of the process that made the mapping (${memlock} bytes) does not allow one more locked page; raise it (ulimit -l) or give CAP_IPC_LOCK`,
    );
  }
  if (pin < 0) fail("EFAULT", `the memory behind iova ${hex(pageToAddress(page))} cannot be pinned`);
  if (space.charged === 0 && iommu.context.release.has("pinnedPagesOnly")) {
    space.unpin(pin);
    fail("EINVAL", `behind iova ${hex(pageToAddress(page))} is memory of a device, which has no pages to pin`);
  }
  pins.add(page, pin, space.charged > 0);
  mappings.external.set(slot, pins);
  if (charges && space.charged > 0) {
    space.lockedPages++;
    mappings.setChargedHere(slot, mappings.chargedHere(slot) + 1);
  }
  mappings.dirty.get(slot)?.set(Math.floor((page - start) / iommu.pagesPerUnit), 1);
  return pinnedPage(space, pin, vaddr);
}

function pinnedPage(space: AddressSpace, pin: number, vaddr: number): PinnedPage {
  return {
    read: (offset, into) => space.readPinned(pin, vaddr, offset, into),
    write: (offset, from) => space.writePinned(pin, vaddr, offset, from),
  };
}

function unpinOne(iommu: Type1Iommu, page: number): void {
  const { mappings } = iommu;
  if (!mappings.byIova.overlaps(page, 1)) return;
  const slot = mappings.byIova.value;
  const pins = mappings.external.get(slot);
  const gone = pins?.drop(page);
  if (!pins || !gone) return;
  const space = mappings.spaceOf(slot);
  space.unpin(gone.pin);
  if (gone.charged && !(mappings.flagsOf(slot) & MAP_PINNED)) {
    space.lockedPages--;
    mappings.setChargedHere(slot, mappings.chargedHere(slot) - 1);
  }
  if (pins.isEmpty) mappings.external.delete(slot);
}

function findMapping(iommu: Type1Iommu, page: number, iova: bigint): number {
  if (!iommu.mappings.byIova.overlaps(page, 1)) fail("EINVAL", `iova ${hex(iova)} is not mapped`);
  return iommu.mappings.byIova.value;
}

/**
 * A group whose driver pins what it uses no longer makes every page dirty (vfio_iommu_group.pinned_page_dirty_scope).
 */
function declareScope(iommu: Type1Iommu, group: DmaGroup): void {
  const isGroup = (attached: AttachedGroup) => attached.group === group;
  const attached = [...iommu.domains.flatMap(({ groups }) => groups), ...iommu.emulatedGroups].find(isGroup);
  if (!attached || attached.pinnedPageDirtyScope) return;
  attached.pinnedPageDirtyScope = true;
  iommu.nonPinnedGroups--;
}
