import { IntervalMap } from "../../address/interval-map.ts";
import { PAGE_SIZE } from "../../address/pages.ts";
import { type Span, SpanMap } from "../../address/span-map.ts";
import { addressIn } from "../../iommu/dma-walk.ts";
import { Area, type FlatAreas } from "./area.ts";
import { type Holder, MappedPages } from "./mapped-pages.ts";
import { pinUser, UserPages } from "./page-source.ts";
import type { PinAccount } from "./pin-account.ts";

/** Up to here addresses are numbers that V8 has exactly. */
const FLAT_END = 2 ** 53;
const FLAT_END_BYTES = BigInt(FLAT_END);
const FLAT_PAGES = FLAT_END / PAGE_SIZE;
/** State bits of an area. */
const READABLE = 1;
const WRITEABLE = 2;
/** Its memory is held. */
const FILLED = 4;
/** It has an object. */
const KEPT = 8;
const ACCOUNT_SHIFT = 8;
/** An area is 16 bytes side by side, so that one at a random place is one miss of the processor's caches. */
const DOUBLES = 2;
const WORDS = 4;
const PIN = 2;
const STATE = 3;
const INITIAL = 64;
const NONE = -1;
/** Objects of areas that were asked for lately: a power of two. */
const RECENT = 256;

/** An area of a process's memory that nothing else shows. Bytes. */
export interface FlatArea {
  readonly start: number;
  readonly length: number;
  /** Of the memory's first byte. */
  readonly address: number;
  readonly readable: boolean;
  readonly writeable: boolean;
}

/**
 * The mappings of an address space, to the byte. Nearly all are of memory that no other shows, and below 2^53: they are
 * some words in typed arrays (as type1's are, mapping-table.ts), which no garbage collector walks. Those that share
 * memory, that are of a file or that a driver holds pages of have an object beside that, which is made when somebody
 * asks for what takes one. Those that reach further than 2^53 are objects altogether: a number cannot be their key.
 */
export class AreaTable implements Iterable<Area>, FlatAreas {
  readonly #pageSize: number;
  /** Of a page, by byte: a power of two, so that a product is what a quotient would be. */
  readonly #perByte: number;
  readonly #low = new IntervalMap({ knowsHoles: true });
  readonly #high = new SpanMap<Area>();
  /** By slot: the address of the first byte (of a free slot the next free one), then what `words` shows of it. */
  #records = new Float64Array(INITIAL * DOUBLES);
  /** The same memory: of each the pin, and the state bits with whose limit counts. */
  #words = new Uint32Array(this.#records.buffer);
  #used = 0;
  #free = NONE;
  readonly #kept = new Map<number, Area>();
  readonly #accounts: PinAccount[] = [];
  /** By some bits of the slot: whose area was asked for last, and its object. What is removed is not there. */
  readonly #recentSlots = new Int32Array(RECENT).fill(NONE);
  readonly #recent: Area[] = [];

  /** @param pageSize bytes */
  constructor(pageSize: number) {
    this.#pageSize = pageSize;
    this.#perByte = 1 / pageSize;
  }

  get size(): number {
    return this.#low.size + this.#high.size;
  }

  /** Whose limits count for memory that areas of the table have for themselves. */
  get accounts(): readonly PinAccount[] {
    return this.#accounts;
  }

  *[Symbol.iterator](): Iterator<Area> {
    yield* this.since(0n);
  }

  /** Those that have an object anyway. */
  *kept(): Generator<Area> {
    yield* this.#kept.values();
    yield* this.#high;
  }

  /** The areas that end at or above `address`, in order. Nothing may be added or taken out meanwhile. */
  *since(address: bigint): Generator<Area> {
    const low = this.#low;
    for (let at = address < FLAT_END_BYTES ? Number(address) : FLAT_END; low.seek(at); ) {
      // whoever has the area may look others up
      at = low.start + low.pages;
      yield this.#areaHere();
    }
    yield* this.#high.since(address);
  }

  /** The area that an address is in: the number of a page of 4 KiB, and how many bytes are before it in there. */
  at(page: number, within: number): Area | undefined {
    if (page < FLAT_PAGES && this.#low.overlaps(page * PAGE_SIZE + within, 1)) return this.#recentHere();
    if (this.#high.size === 0) return undefined;
    const address = addressIn(page, within);
    return this.#high.meeting(address, address);
  }

  /** The lowest area that meets [start, last]. */
  meeting(start: bigint, last: bigint): Area | undefined {
    if (start < FLAT_END_BYTES && this.#low.seek(Number(start))) {
      return this.#low.start <= last ? this.#recentHere() : undefined;
    }
    return this.#high.meeting(start, last);
  }

  /** Whether [start, start + length) is free. Bytes below 2^53. */
  isFree(start: number, length: number): boolean {
    if (this.#low.overlaps(start, length)) return false;
    return this.#high.size === 0 || !this.#high.meeting(BigInt(start), BigInt(start + length - 1));
  }

  /** Whether exactly [start, start + length) is an area that has no object. */
  isFlat(start: number, length: number): boolean {
    const low = this.#low;
    if (!low.overlaps(start, 1) || low.start !== start || low.pages !== length) return false;
    return (this.#stateOf(low.value) & KEPT) === 0;
  }

  /** The parts of [start, last] that no area meets and that have `length` bytes at least, in order. */
  *holes(start: bigint, last: bigint, length: bigint): Generator<Span> {
    let from = start;
    if (start < FLAT_END_BYTES) {
      const low = this.#low;
      const wanted = length < FLAT_END_BYTES ? Number(length) : FLAT_END;
      for (let at = Number(start); ; ) {
        const hole = low.seekHole(at, wanted);
        if (hole < 0) break;
        if (hole > last) return;
        at = low.start;
        if (at > last) {
          if (last - BigInt(hole) + 1n >= length) yield { start: BigInt(hole), last };
          return;
        }
        yield { start: BigInt(hole), last: BigInt(at - 1) };
      }
      const { end } = low;
      if (end > from) from = BigInt(end);
    }
    if (from <= last) yield* this.#high.holes(from, last, length);
  }

  /** Adds an area that overlaps none. */
  add(area: Area): void {
    if (area.last >= FLAT_END_BYTES) {
      this.#high.add(area);
      return;
    }
    const slot = this.#takeSlot();
    this.#words[slot * WORDS + STATE] = KEPT;
    this.#kept.set(slot, area);
    this.#low.insert(Number(area.start), Number(area.length), slot);
  }

  /**
   * The same for memory that it has for itself, without an object.
   * @param pin of the memory, where it is held
   */
  addFlat(
    { start, length, address, readable, writeable }: FlatArea,
    account: PinAccount,
    pin: number | undefined,
  ): void {
    const slot = this.#takeSlot();
    const state = (readable ? READABLE : 0) | (writeable ? WRITEABLE : 0) | (pin === undefined ? 0 : FILLED);
    this.#records[slot * DOUBLES] = address;
    this.#words[slot * WORDS + PIN] = pin ?? 0;
    this.#words[slot * WORDS + STATE] = state | (this.#accountIndex(account) << ACCOUNT_SHIFT);
    this.#low.insert(start, length, slot);
  }

  /** Takes an area out. */
  delete(area: Area): void {
    if (area.last >= FLAT_END_BYTES) {
      this.#high.delete(area);
      return;
    }
    if (!this.#low.overlaps(Number(area.start), 1)) throw new RangeError("the area is not in the table");
    this.#freeSlot(this.#low.value);
    this.#low.removeHere();
  }

  /**
   * Takes areas that have no object out, from the first that meets [start, last] on, up to one that is not such a one
   * or is not all within. What they held is let go.
   * @param start below 2^53, as `last` is
   * @param most areas
   * @param removed is told of each
   * @returns how many bytes they had
   */
  removeFlat(
    start: number,
    last: number,
    most: number,
    removed: ((start: number, length: number) => void) | undefined,
  ): number {
    const low = this.#low;
    if (!low.seek(start) || low.start < start) return 0;
    const end = last + 1;
    let bytes = 0;
    // what goes together counts against one limit as a rule
    let account = this.#accounts[0];
    let uncharged = 0;
    for (let left = most, more = true; left > 0 && more; left--) {
      const { start: first, pages: length, value: slot } = low;
      const state = this.#stateOf(slot);
      if (first + length > end || state & KEPT) break;
      if (state & FILLED) {
        const own = this.#accountOf(state);
        if (own !== account) {
          if (uncharged > 0) account!.uncharge(uncharged);
          account = own;
          uncharged = 0;
        }
        own.space.unpin(this.#words[slot * WORDS + PIN]!);
        uncharged += this.#pagesOf(slot, length);
      }
      this.#giveSlot(slot);
      more = low.removeHere();
      bytes += length;
      if (removed) {
        removed(first, length);
        // it may have looked
        more = low.seek(first);
      }
    }
    if (uncharged > 0) account!.uncharge(uncharged);
    return bytes;
  }

  /** All go; what areas without an object hold is let go. */
  clear(): void {
    const low = this.#low;
    for (let more = low.first(); more; more = low.next()) {
      if (!(this.#stateOf(low.value) & KEPT)) this.unfill(low.value, low.pages);
    }
    low.clear();
    this.#high.clear();
    this.#kept.clear();
    this.#recentSlots.fill(NONE);
    this.#recent.length = 0;
    this.#accounts.length = 0;
    this.#used = 0;
    this.#free = NONE;
    this.#records = new Float64Array(INITIAL * DOUBLES);
    this.#words = new Uint32Array(this.#records.buffer);
  }

  addressOf(slot: number): number {
    return this.#records[slot * DOUBLES]!;
  }

  isFilled(slot: number): boolean {
    return (this.#stateOf(slot) & FILLED) !== 0;
  }

  fill(slot: number, length: number): void {
    const state = this.#stateOf(slot);
    const account = this.#accountOf(state);
    const pages = this.#pagesOf(slot, length);
    const vaddr = this.#pageAddress(slot);
    const pin = pinUser(account.space, vaddr, pages, (state & WRITEABLE) !== 0);
    try {
      account.charge(pages);
    } catch (error) {
      account.space.unpin(pin);
      throw error;
    }
    this.#words[slot * WORDS + PIN] = pin;
    this.#words[slot * WORDS + STATE] = state | FILLED;
  }

  unfill(slot: number, length: number): void {
    const state = this.#stateOf(slot);
    if (!(state & FILLED)) return;
    const account = this.#accountOf(state);
    account.space.unpin(this.#words[slot * WORDS + PIN]!);
    account.uncharge(this.#pagesOf(slot, length));
    this.#words[slot * WORDS + STATE] = state & ~FILLED;
  }

  read(slot: number, offset: number, into: Uint8Array): void {
    const vaddr = this.#pageAddress(slot);
    const { space } = this.#accountOf(this.#stateOf(slot));
    space.readPinned(this.#words[slot * WORDS + PIN]!, vaddr, this.#records[slot * DOUBLES]! - vaddr + offset, into);
  }

  write(slot: number, offset: number, from: Uint8Array): void {
    const vaddr = this.#pageAddress(slot);
    const { space } = this.#accountOf(this.#stateOf(slot));
    space.writePinned(this.#words[slot * WORDS + PIN]!, vaddr, this.#records[slot * DOUBLES]! - vaddr + offset, from);
  }

  hugePageShift(slot: number, offset: number): number {
    return this.#accountOf(this.#stateOf(slot)).space.hugePageShift(this.#records[slot * DOUBLES]! + offset);
  }

  keep(slot: number, area: Area): { readonly pages: MappedPages; readonly holder: Holder | undefined } {
    const state = this.#stateOf(slot);
    const place = slot & (RECENT - 1);
    if (this.#recentSlots[place] === slot) this.#recent[place] = area;
    const account = this.#accountOf(state);
    const vaddr = BigInt(this.#pageAddress(slot));
    const source = new UserPages(account.space, vaddr);
    const writable = (state & WRITEABLE) !== 0;
    const pages = new MappedPages(source, vaddr, { writable, pageSize: this.#pageSize, account });
    const count = this.#pagesOf(slot, Number(area.length));
    const holder = { start: 0n, last: BigInt(count - 1) };
    const isFilled = (state & FILLED) !== 0;
    if (isFilled) pages.adopt(holder, this.#words[slot * WORDS + PIN]!);
    this.#words[slot * WORDS + STATE] = KEPT;
    this.#kept.set(slot, area);
    return { pages, holder: isFilled ? holder : undefined };
  }

  /** Pages of the host that an area without an object lies in. */
  #pagesOf(slot: number, length: number): number {
    const perByte = this.#perByte;
    const address = this.#records[slot * DOUBLES]!;
    return Math.floor((address + length - 1) * perByte) - Math.floor(address * perByte) + 1;
  }

  #pageAddress(slot: number): number {
    const address = this.#records[slot * DOUBLES]!;
    return Math.floor(address * this.#perByte) * this.#pageSize;
  }

  #stateOf(slot: number): number {
    return this.#words[slot * WORDS + STATE]!;
  }

  #accountOf(state: number): PinAccount {
    return this.#accounts[state >>> ACCOUNT_SHIFT]!;
  }

  #accountIndex(account: PinAccount): number {
    if (this.#accounts[0] === account) return 0;
    const index = this.#accounts.indexOf(account);
    return index >= 0 ? index : this.#accounts.push(account) - 1;
  }

  /** The area at the cursor. */
  #areaHere(): Area {
    const { start, pages, value: slot } = this.#low;
    const state = this.#stateOf(slot);
    if (state & KEPT) return this.#kept.get(slot)!;
    const access = { readable: (state & READABLE) !== 0, writeable: (state & WRITEABLE) !== 0 };
    return Area.at(start, pages, access, this, slot);
  }

  /** The same, of one that may be asked for again soon: by a device's accesses. */
  #recentHere(): Area {
    const slot = this.#low.value;
    const place = slot & (RECENT - 1);
    if (this.#recentSlots[place] === slot) return this.#recent[place]!;
    const area = this.#areaHere();
    this.#recentSlots[place] = slot;
    this.#recent[place] = area;
    return area;
  }

  #takeSlot(): number {
    const slot = this.#free;
    if (slot !== NONE) {
      this.#free = this.#records[slot * DOUBLES]!;
      return slot;
    }
    const next = this.#used++;
    if (next * DOUBLES === this.#records.length) {
      const larger = new Float64Array(2 * next * DOUBLES);
      larger.set(this.#records);
      this.#records = larger;
      this.#words = new Uint32Array(larger.buffer);
    }
    return next;
  }

  #freeSlot(slot: number): void {
    if (this.#stateOf(slot) & KEPT) this.#kept.delete(slot);
    this.#giveSlot(slot);
  }

  #giveSlot(slot: number): void {
    const place = slot & (RECENT - 1);
    if (this.#recentSlots[place] === slot) this.#recentSlots[place] = NONE;
    this.#records[slot * DOUBLES] = this.#free;
    this.#free = slot;
  }
}
