import { EvictingMap, type VictimChooser } from "../evicting-map.ts";
import type { Permission } from "./access.ts";
import type { SecondLevel } from "./second-level.ts";

/** Which requests share translations: a domain, and in it a PASID. */
export interface Tag {
  readonly domain: number;
  readonly pasid: number;
}

/** A page's whole translation. */
export interface Translation extends Permission {
  readonly tag: Tag;
  /** The page's number before translation; of a large page the number of its first 4 KiB. */
  readonly page: number;
  /** log2 of its bytes. */
  readonly shift: number;
  /** The number of the host physical page that it begins at. */
  readonly host: number;
  /** What the second level allows. */
  readonly hostRead: boolean;
  readonly hostWrite: boolean;
  /** Writes need not set the dirty bit any more. */
  readonly dirty: boolean;
  /** It came through a first-level table, so that `page` is no address of the second level. */
  readonly isNested: boolean;
  /** Where the memory at `host` is. */
  readonly target: SecondLevel;
}

/** PASIDs have 20 bits. */
const PASIDS = 2 ** 20;

/** Sizes of pages as log2 of their bytes, smallest first. */
const SHIFTS: readonly number[] = [12, 21, 30];
/** The same in pages of 4 KiB. */
const PAGES = [1, 2 ** 9, 2 ** 18] as const;

/** A range of so many pages is looked up page by page; for a larger one all entries are looked at. */
export const SMALL_RANGE = 64;

/** The domain of translations that a device caches itself: it does not know domains. */
export const NO_DOMAIN = 0;

/** Translations by tag and address. Used for the unit's IOTLB and for what a device caches itself (ATS). */
export class TranslationCache {
  readonly #entries: EvictingMap<Translation>;
  /** A bit for each size that has occurred since it was empty: no others are looked for. */
  #sizes = 0;

  constructor(capacity: number, victims: VictimChooser) {
    this.#entries = new EvictingMap(capacity, victims);
  }

  get statistics() {
    return this.#entries.statistics;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @param page the number of a page of 4 KiB */
  find(tag: Tag, page: number): Translation | undefined {
    const { statistics } = this.#entries;
    const tagged = numberOf(tag);
    for (let size = 0; size < PAGES.length; size++) {
      if (!(this.#sizes & (1 << size))) continue;
      const found = this.#entries.peek(spaceOf(tagged, size), placeOf(page, size));
      if (!found) continue;
      statistics.hits++;
      return found;
    }
    statistics.misses++;
    return undefined;
  }

  remember(found: Translation): void {
    const { tag, page, shift } = found;
    const size = SHIFTS.indexOf(shift);
    // a page is here once only: another size of the same addresses would answer beside it
    this.invalidate(tag.domain, tag.pasid, { start: page, pages: PAGES[size]! });
    this.#sizes |= 1 << size;
    this.#entries.set(spaceOf(numberOf(tag), size), placeOf(page, size), found);
  }

  /**
   * Removes what matches a domain, a PASID (undefined: all) and a range of addresses (undefined: all).
   * @param nestedToo the range is one of the second level: whatever is nested over it matches too
   */
  invalidate(domain: number | undefined, pasid: number | undefined, range?: PageRange, nestedToo = false): void {
    if (domain !== undefined && pasid !== undefined && range && range.pages <= SMALL_RANGE && !nestedToo) {
      this.#remove(numberOf({ domain, pasid }), range);
    } else {
      this.#entries.invalidate(
        (entry) =>
          (domain === undefined || entry.tag.domain === domain) &&
          (pasid === undefined || entry.tag.pasid === pasid) &&
          (range === undefined || (nestedToo && entry.isNested) || overlaps(entry, range)),
      );
    }
    if (this.#entries.size === 0) this.#sizes = 0;
  }

  /** Pages of every size that a range touches. */
  #remove(tagged: number, { start, pages }: PageRange): void {
    for (let size = 0; size < PAGES.length; size++) {
      if (!(this.#sizes & (1 << size))) continue;
      const space = spaceOf(tagged, size);
      const last = placeOf(start + pages - 1, size);
      for (let place = placeOf(start, size); place <= last; place++) this.#entries.remove(space, place);
    }
  }
}

/** A range of addresses to be invalidated, in pages of 4 KiB. */
export interface PageRange {
  readonly start: number;
  readonly pages: number;
}

function overlaps({ page, shift }: Translation, { start, pages }: PageRange): boolean {
  return page < start + pages && start < page + PAGES[SHIFTS.indexOf(shift)]!;
}

/** A tag as one number. */
export function numberOf({ domain, pasid }: Tag): number {
  return domain * PASIDS + pasid;
}

/** Where pages of a size are kept. */
function spaceOf(tagged: number, size: number): number {
  return tagged * PAGES.length + size;
}

/** Which page of a size a page of 4 KiB is in. */
function placeOf(page: number, size: number): number {
  return Math.floor(page / PAGES[size]!);
}
