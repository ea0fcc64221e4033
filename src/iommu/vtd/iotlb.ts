import { EvictingMap, type VictimChooser } from "../evicting-map.ts";
import type { Permission } from "./first-level.ts";
import type { SecondLevel } from "./second-level.ts";

/** Which requests share translations: a domain, and in it a PASID. */
export interface Tag {
  readonly domain: number;
  readonly pasid: number;
}

/** A page's whole translation. */
export interface Translation extends Permission {
  readonly tag: Tag;
  /** First address of the page, before translation. */
  readonly page: bigint;
  /** log2 of its bytes. */
  readonly shift: number;
  /** Host physical address of its first byte. */
  readonly host: bigint;
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

/** Sizes of pages, smallest first. */
const SHIFTS = [12, 21, 30] as const;

/** A range of so many bytes is looked up page by page; for a larger one all entries are looked at. */
export const SMALL_RANGE = 64n * 4096n;

/** The domain of translations that a device caches itself: it does not know domains. */
export const NO_DOMAIN = 0;

/** Translations by tag and address. Used for the unit's IOTLB and for what a device caches itself (ATS). */
export class TranslationCache {
  readonly #entries: EvictingMap<Translation>;

  constructor(capacity: number, victims: VictimChooser) {
    this.#entries = new EvictingMap(capacity, victims);
  }

  get statistics() {
    return this.#entries.statistics;
  }

  get size(): number {
    return this.#entries.size;
  }

  find(tag: Tag, address: bigint): Translation | undefined {
    const { statistics } = this.#entries;
    for (const shift of SHIFTS) {
      const found = this.#entries.peek(keyOf(tag, address, shift));
      if (!found) continue;
      statistics.hits++;
      return found;
    }
    statistics.misses++;
    return undefined;
  }

  remember(found: Translation): void {
    // a page is here once only: another size of the same addresses would answer beside it
    this.invalidate(found.tag.domain, found.tag.pasid, { start: found.page, bytes: 1n << BigInt(found.shift) });
    this.#entries.set(keyOf(found.tag, found.page, found.shift), found);
  }

  /**
   * Removes what matches a domain, a PASID (undefined: all) and a range of addresses (undefined: all).
   * @param nestedToo the range is one of the second level: whatever is nested over it matches too
   */
  invalidate(domain: number | undefined, pasid: number | undefined, range?: AddressRange, nestedToo = false): void {
    if (domain !== undefined && pasid !== undefined && range && range.bytes <= SMALL_RANGE && !nestedToo) {
      this.#remove({ domain, pasid }, range);
      return;
    }
    this.#entries.invalidate(
      (entry) =>
        (domain === undefined || entry.tag.domain === domain) &&
        (pasid === undefined || entry.tag.pasid === pasid) &&
        (range === undefined || (nestedToo && entry.isNested) || overlaps(entry, range)),
    );
  }

  /** Pages of every size that a range touches. */
  #remove(tag: Tag, { start, bytes }: AddressRange): void {
    for (const shift of SHIFTS) {
      const step = 1n << BigInt(shift);
      for (let page = start - (start % step); page < start + bytes; page += step)
        this.#entries.remove(keyOf(tag, page, shift));
    }
  }
}

/** A range of addresses to be invalidated. */
export interface AddressRange {
  readonly start: bigint;
  readonly bytes: bigint;
}

function overlaps({ page, shift }: Translation, { start, bytes }: AddressRange): boolean {
  return page < start + bytes && start < page + (1n << BigInt(shift));
}

function keyOf({ domain, pasid }: Tag, address: bigint, shift: number): string {
  return `${domain}.${pasid}.${shift}.${(address >> BigInt(shift)).toString(36)}`;
}
