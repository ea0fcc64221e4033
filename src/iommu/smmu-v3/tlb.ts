import { PAGE_SHIFT } from "../../address/pages.ts";
import { EvictingMap, VictimChooser } from "../evicting-map.ts";
import type { Permission } from "./stage1.ts";

/** A page's translation by both stages. */
export interface Translation extends Permission {
  /** Undefined for a global page, which is valid for every address-space id. */
  readonly asid: number | undefined;
  /** The number of its first 4 KiB before translation. */
  readonly page: number;
  /** log2 of its bytes. */
  readonly shift: number;
  /** The same of the intermediate address. */
  readonly intermediate: number;
  /** What the second stage allows. */
  readonly secondRead: boolean;
  readonly secondWrite: boolean;
}

/** A range of input addresses, in pages of 4 KiB. */
export interface PageRange {
  readonly start: number;
  readonly pages: number;
}

const CAPACITY = 1024;
/** A range of so many pages is looked up page by page; for a larger one all entries are looked at. */
const SMALL_RANGE = 64;
/** More than there are sizes of pages. */
const SHIFTS = 64;
/** What global pages are under; address-space ids have 16 bits. */
const GLOBAL = 2 ** 16;

/**
 * What an SMMU remembers of one guest, that is under one VMID: translations of all of its streams, by address-space id
 * and address. A translation answers until it is invalidated, or makes room for another one.
 */
export class Tlb {
  readonly #entries = new EvictingMap<Translation>(CAPACITY, new VictimChooser(1));
  /** Sizes that have occurred since it was empty: no others are looked for. */
  #sizes: number[] = [];

  get size(): number {
    return this.#entries.size;
  }

  /** @param page the number of a page of 4 KiB */
  find(asid: number, page: number): Translation | undefined {
    for (const shift of this.#sizes) {
      const place = placeOf(page, shift);
      const found =
        this.#entries.peek(spaceOf(asid, shift), place) ?? this.#entries.peek(spaceOf(undefined, shift), place);
      if (found) return found;
    }
    return undefined;
  }

  remember(found: Translation): void {
    const { asid, page, shift } = found;
    this.#entries.set(spaceOf(asid, shift), placeOf(page, shift), found);
    if (!this.#sizes.includes(shift)) this.#sizes.push(shift);
  }

  /** All of the guest's. */
  clear(): void {
    this.#invalidate(() => true);
  }

  /** All of one address-space id, without global pages. */
  clearAsid(asid: number): void {
    this.#invalidate((entry) => entry.asid === asid);
  }

  /**
   * What a range of addresses touches.
   * @param asid undefined for all
   */
  clearRange(asid: number | undefined, range: PageRange): void {
    if (this.#entries.size === 0) return;
    if (asid !== undefined && range.pages <= SMALL_RANGE) {
      this.#remove(asid, range);
      return;
    }
    this.#invalidate(
      (entry) => (asid === undefined || entry.asid === undefined || entry.asid === asid) && overlaps(entry, range),
    );
  }

  /** Pages of every size that a range touches, of an address space and of all. */
  #remove(asid: number, { start, pages }: PageRange): void {
    for (const shift of this.#sizes) {
      const last = placeOf(start + pages - 1, shift);
      for (let place = placeOf(start, shift); place <= last; place++) {
        this.#entries.remove(spaceOf(asid, shift), place);
        this.#entries.remove(spaceOf(undefined, shift), place);
      }
    }
  }

  #invalidate(matches: (entry: Translation) => boolean): void {
    this.#entries.invalidate(matches);
    if (this.#entries.size === 0) this.#sizes = [];
  }
}

function overlaps({ page, shift }: Translation, { start, pages }: PageRange): boolean {
  return page < start + pages && start < page + (1 << (shift - PAGE_SHIFT));
}

/** Where translations of an address space and a size of pages are kept. */
function spaceOf(asid: number | undefined, shift: number): number {
  return (asid ?? GLOBAL) * SHIFTS + shift;
}

/** Which page of a size a page of 4 KiB is in. */
function placeOf(page: number, shift: number): number {
  return Math.floor(page / (1 << (shift - PAGE_SHIFT)));
}
