import { EvictingMap, type VictimChooser } from "../evicting-map.ts";
import type { Permission } from "./access.ts";
import { numberOf, type PageRange, SMALL_RANGE, type Tag } from "./iotlb.ts";

/** A remembered table: the one of `level` for the pages from `start` on, with what the entries down to it allow. */
export interface RememberedTable extends Permission {
  readonly tag: Tag;
  readonly level: number;
  readonly start: number;
  /** The number of the page that it lies in. */
  readonly table: number;
}

/** Levels of tables that are remembered: those below the root of a table of five levels. */
const LEVELS = [1, 2, 3, 4] as const;

/** Pages of 4 KiB that a table of a level covers. */
const COVERED: readonly number[] = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/**
 * The paging-structure caches: which table the walk of an address gets to. An invalidation with the leaf hint leaves
 * them alone.
 */
export class PagingStructureCache {
  readonly #entries: EvictingMap<RememberedTable>;

  constructor(capacity: number, victims: VictimChooser) {
    this.#entries = new EvictingMap(capacity, victims);
  }

  get statistics() {
    return this.#entries.statistics;
  }

  /** The table of `level` that the walk of a page under a tag gets to. */
  find(tag: Tag, level: number, page: number): RememberedTable | undefined {
    const found = this.#entries.peek(spaceOf(tag, level), placeOf(page, level));
    if (found) this.#entries.statistics.hits++;
    return found;
  }

  remember(tag: Tag, level: number, page: number, table: number, { write, user, noExecute }: Permission): void {
    const place = placeOf(page, level);
    const start = place * COVERED[level]!;
    this.#entries.set(spaceOf(tag, level), place, { tag, level, start, table, write, user, noExecute });
  }

  invalidate(domain: number | undefined, pasid: number | undefined, range?: PageRange): void {
    if (domain !== undefined && pasid !== undefined && range && range.pages <= SMALL_RANGE) {
      this.#remove({ domain, pasid }, range);
      return;
    }
    this.#entries.invalidate(
      (entry) =>
        (domain === undefined || entry.tag.domain === domain) &&
        (pasid === undefined || entry.tag.pasid === pasid) &&
        (range === undefined ||
          (entry.start < range.start + range.pages && range.start < entry.start + COVERED[entry.level]!)),
    );
  }

  /** Tables of every level that cover a part of a range. */
  #remove(tag: Tag, { start, pages }: PageRange): void {
    for (const level of LEVELS) {
      const space = spaceOf(tag, level);
      const last = placeOf(start + pages - 1, level);
      for (let place = placeOf(start, level); place <= last; place++) this.#entries.remove(space, place);
    }
  }
}

/** Where tables of a level are kept. */
function spaceOf(tag: Tag, level: number): number {
  return numberOf(tag) * COVERED.length + level;
}

/** Which of the tables of a level covers a page. */
function placeOf(page: number, level: number): number {
  return Math.floor(page / COVERED[level]!);
}
