import { IntervalMap } from "../../address/interval-map.ts";
import { LAST_PAGE, PAGE_SIZE } from "../../address/pages.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import type { Task } from "../../kernel/task.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";
import type { ExternalPins } from "./external-pins.ts";

/** State bits of a mapping. READ and WRITE are the values of VFIO_DMA_MAP_FLAG_READ and _WRITE. */
export const MAP_READ = 1;
export const MAP_WRITE = 2;
/** Its vaddr was taken away (VFIO_DMA_UNMAP_FLAG_VADDR) and not given back yet. */
export const MAP_VADDR_INVALID = 4;
/** Its pages are pinned and in the IOMMU's tables (vfio_dma.iommu_mapped). */
export const MAP_PINNED = 8;
/** Made with CAP_IPC_LOCK: what it pins later is not held against the limit (vfio_dma.lock_cap). */
export const MAP_LOCK_CAPABLE = 16;

/**
 * A mapping is 16 bytes side by side, so that one at a random place is one miss of the processor's caches: its first
 * user page as a double, then its pin and, in one 32-bit word, its state bits and whose memory it is.
 */
const DOUBLES = 2;
const WORDS = 4;
const PIN = 2;
const STATE = 3;
const FLAGS = 0xff;
/** Its first page and its length are in #runs. */
const RUN_KNOWN = 0x100;
const SPACE_SHIFT = 9;
/** All of its pages are charged: the usual case, in which the number is not kept. */
const CHARGED_WHOLE = 0x80;
const INITIAL = 64;
/** At most so many hints are kept: 4 MiB of them. */
const MOST_HINTS = 1 << 20;

/** Hears which pages come and go. */
export interface MappingTableListener {
  /** @param flags a set of MAP_* */
  added(iovaPage: number, pages: number, flags: number): void;
  removed(iovaPage: number, pages: number): void;
}

/**
 * All mappings of a container (struct vfio_dma), in typed arrays: the interval map finds a slot by IOVA page, the slot
 * has the rest. What few mappings have lies in sparse tables beside them.
 */
export class MappingTable {
  readonly byIova = new IntervalMap();
  #vaddrPages = new Float64Array(INITIAL * DOUBLES);
  #words = new Uint32Array(this.#vaddrPages.buffer);
  /**
   * In which slot a page was found last, by some bits of its number: to a device's accesses what an IOTLB is to an
   * IOMMU. A hint is a guess that the slot's run confirms, so that nothing need be done here when mappings come and go.
   */
  #hints = new Uint32Array(1);
  /** First page and number of pages by slot, of those that a device has reached: what a hint is compared with. */
  #runs = new Float64Array(2);
  /** Charged pages where it is not all of them. */
  readonly #oddCharges = new Map<number, number>();
  readonly spaces: AddressSpace[] = [];
  /**
   * By the index in `spaces`: RLIMIT_MEMLOCK of the process in bytes, as it was when it last had to do with its
   * mappings.
   */
  readonly memlock: number[] = [];
  readonly dirty = new Map<number, DirtyBitmap>();
  readonly external = new Map<number, ExternalPins>();
  /** Who looks on. It must leave the cursor where it is. */
  listener: MappingTableListener | undefined;
  #free = new Uint32Array(INITIAL);
  #freeCount = 0;
  #used = 0;

  get size(): number {
    return this.byIova.size;
  }

  /** Adds a mapping whose pages are not pinned yet; returns its slot. The caller has checked for overlap. */
  add(iovaPage: number, pages: number, vaddrPage: number, flags: number, space: AddressSpace): number {
    const slot = this.#takeSlot();
    this.#vaddrPages[slot * DOUBLES] = vaddrPage;
    this.#words[slot * WORDS + PIN] = 0;
    this.#words[slot * WORDS + STATE] = (this.#spaceIndex(space) << SPACE_SHIFT) | flags;
    this.byIova.insert(iovaPage, pages, slot);
    if (this.listener !== undefined) this.listener.added(iovaPage, pages, flags);
    return slot;
  }

  /**
   * The slot of the mapping that a page lies in, with its run known; -1 when no mapping has it. The cursor is anywhere
   * afterwards.
   */
  slotAt(page: number): number {
    const hints = this.#hints;
    const slot = hints[hintOf(page) & (hints.length - 1)]!;
    const runs = this.#runs;
    const start = runs[2 * slot]!;
    // comparisons in one, because the first alone cannot be foretold
    const isThere = +(start <= page) & +(page < start + runs[2 * slot + 1]!);
    return isThere && this.#words[slot * WORDS + STATE]! & RUN_KNOWN ? slot : this.#searchSlot(page);
  }

  /** First page of the mapping in a slot that slotAt() has returned. */
  startOf(slot: number): number {
    return this.#runs[2 * slot]!;
  }

  /** How many pages the mapping has in a slot that slotAt() has returned. */
  pagesOf(slot: number): number {
    return this.#runs[2 * slot + 1]!;
  }

  /** Forgets the mapping at the cursor; the cursor is then on the next one, false when that was the last. */
  removeHere(): boolean {
    const slot = this.byIova.value;
    if (this.listener !== undefined) this.listener.removed(this.byIova.start, this.byIova.pages);
    this.#words[slot * WORDS + STATE] = 0;
    if (this.dirty.size > 0) this.dirty.delete(slot);
    if (this.external.size > 0) this.external.delete(slot);
    if (this.#oddCharges.size > 0) this.#oddCharges.delete(slot);
    if (this.#freeCount === this.#free.length) this.#free = grown(this.#free, new Uint32Array(this.#free.length * 2));
    this.#free[this.#freeCount++] = slot;
    return this.byIova.removeHere();
  }

  /** Forgets all mappings. */
  clear(): void {
    if (this.listener !== undefined) this.listener.removed(0, LAST_PAGE + 1);
    this.byIova.clear();
    this.dirty.clear();
    this.external.clear();
    this.#oddCharges.clear();
    // hints are there as soon as a run is known
    if (this.#hints.length > 1) this.#words.fill(0, 0, this.#used * WORDS);
    this.#hints = new Uint32Array(1);
    this.#runs = new Float64Array(2);
    this.#freeCount = 0;
    this.#used = 0;
  }

  /** Page number of the first user page. */
  vaddrPageOf(slot: number): number {
    return this.#vaddrPages[slot * DOUBLES]!;
  }

  setVaddrPage(slot: number, page: number): void {
    this.#vaddrPages[slot * DOUBLES] = page;
  }

  /** A set of MAP_*. */
  flagsOf(slot: number): number {
    return this.#words[slot * WORDS + STATE]! & FLAGS;
  }

  setFlag(slot: number, flag: number): void {
    this.#words[slot * WORDS + STATE]! |= flag;
  }

  clearFlag(slot: number, flag: number): void {
    this.#words[slot * WORDS + STATE]! &= ~flag;
  }

  /**
   * Pages (the host's PAGE_SIZE) charged to the owner's RLIMIT_MEMLOCK, of the mapping at the cursor, whose slot it is.
   */
  chargedHere(slot: number): number {
    if (this.#words[slot * WORDS + STATE]! & CHARGED_WHOLE) return this.#hostPagesHere(slot);
    return this.#oddCharges.size === 0 ? 0 : (this.#oddCharges.get(slot) ?? 0);
  }

  setChargedHere(slot: number, pages: number): void {
    if (this.#oddCharges.size > 0) this.#oddCharges.delete(slot);
    if (pages === 0) {
      this.clearFlag(slot, CHARGED_WHOLE);
    } else if (pages === this.#hostPagesHere(slot)) {
      this.setFlag(slot, CHARGED_WHOLE);
    } else {
      this.clearFlag(slot, CHARGED_WHOLE);
      this.#oddCharges.set(slot, pages);
    }
  }

  /** What AddressSpace.pin() returned, modulo 2^32. */
  pinOf(slot: number): number {
    return this.#words[slot * WORDS + PIN]!;
  }

  /**
   * The pages of a mapping are pinned from now on.
   * @param pin what AddressSpace.pin() returned
   * @param charged how many pages of the host's size are charged
   * @param pages how many it has
   */
  setPinned(slot: number, pin: number, charged: number, pages: number): void {
    if (this.#oddCharges.size > 0) this.#oddCharges.delete(slot);
    const words = this.#words;
    const at = slot * WORDS;
    words[at + PIN] = pin;
    if (charged === pages) {
      words[at + STATE] = words[at + STATE]! | MAP_PINNED | CHARGED_WHOLE;
    } else {
      words[at + STATE] = (words[at + STATE]! | MAP_PINNED) & ~CHARGED_WHOLE;
      if (charged > 0) this.#oddCharges.set(slot, charged);
    }
  }

  /** Whose memory it is. */
  spaceOf(slot: number): AddressSpace {
    return this.spaces[this.#words[slot * WORDS + STATE]! >>> SPACE_SHIFT]!;
  }

  setSpace(slot: number, space: AddressSpace): void {
    const index = this.#spaceIndex(space);
    this.#words[slot * WORDS + STATE] =
      (index << SPACE_SHIFT) | (this.#words[slot * WORDS + STATE]! & (RUN_KNOWN | FLAGS));
  }

  /** A process makes a mapping, or a call that may charge one: from now on its limit is this. */
  hearLimit(task: Task): void {
    const index = this.spaces[0] === task.memory ? 0 : this.spaces.indexOf(task.memory);
    if (index >= 0) this.memlock[index] = task.memlockLimit();
  }

  /** Whether that process has a limit at all. */
  isLimited(slot: number): boolean {
    return this.limitOf(slot) !== Number.POSITIVE_INFINITY;
  }

  /** RLIMIT_MEMLOCK in bytes of the process whose memory the mapping shows. */
  limitOf(slot: number): number {
    return this.memlock[this.#words[slot * WORDS + STATE]! >>> SPACE_SHIFT] ?? Number.POSITIVE_INFINITY;
  }

  /** Pages of the host that the mapping at the cursor has. */
  #hostPagesHere(slot: number): number {
    const { pages } = this.byIova;
    const { pageSize } = this.spaceOf(slot);
    return pageSize === PAGE_SIZE ? pages : (pages * PAGE_SIZE) / pageSize;
  }

  #searchSlot(page: number): number {
    const { byIova, size } = this;
    if (!byIova.overlaps(page, 1)) return -1;
    const slot = byIova.value;
    if (2 * slot >= this.#runs.length) this.#runs = grown(this.#runs, new Float64Array(this.#vaddrPages.length));
    this.#runs[2 * slot] = byIova.start;
    this.#runs[2 * slot + 1] = byIova.pages;
    this.#words[slot * WORDS + STATE]! |= RUN_KNOWN;
    // twice as many as mappings, so that few of the pages in use share one
    let hints = this.#hints.length;
    while (hints < Math.min(2 * size, MOST_HINTS)) hints *= 2;
    if (hints > this.#hints.length) this.#hints = new Uint32Array(hints);
    this.#hints[hintOf(page) & (this.#hints.length - 1)] = slot;
    return slot;
  }

  #takeSlot(): number {
    if (this.#freeCount > 0) return this.#free[--this.#freeCount]!;
    const slot = this.#used++;
    if (slot * DOUBLES === this.#vaddrPages.length) {
      this.#vaddrPages = grown(this.#vaddrPages, new Float64Array(slot * DOUBLES * 2));
      this.#words = new Uint32Array(this.#vaddrPages.buffer);
    }
    return slot;
  }

  #spaceIndex(space: AddressSpace): number {
    if (this.spaces[0] === space) return 0;
    const index = this.spaces.indexOf(space);
    return index >= 0 ? index : this.spaces.push(space) - 1;
  }
}

/** Pages next to each other have hints of their own, and so have those that lie 2 MiB apart. */
function hintOf(page: number): number {
  return page ^ (page >>> 9);
}

function grown<T extends Float64Array | Uint32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
