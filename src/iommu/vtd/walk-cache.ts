import { EvictingMap, type VictimChooser } from "../evicting-map.ts";
import type { Permission, WalkCache } from "./first-level.ts";
import { type AddressRange, SMALL_RANGE, type Tag } from "./iotlb.ts";

/** A remembered table: the one of `level` for the addresses from `start` on. */
interface RememberedTable extends Permission {
  readonly tag: Tag;
  readonly level: number;
  readonly start: bigint;
  readonly table: bigint;
}

/** Levels of tables that are remembered: those below the root of a table of five levels. */
const LEVELS = [1, 2, 3, 4] as const;

/** log2 of the bytes that a table of a level covers. */
function coverage(level: number): bigint {
  return 12n + 9n * BigInt(level);
}

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

  /** The part of the cache that a walk under a tag sees. */
  under(tag: Tag): WalkCache {
    const entries = this.#entries;
    return {
      find(level, address) {
        const found = entries.peek(keyOf(tag, level, address));
        if (found) entries.statistics.hits++;
        return found;
      },
      remember(level, address, found) {
        const shift = coverage(level);
        entries.set(keyOf(tag, level, address), { tag, level, start: (address >> shift) << shift, ...found });
      },
    };
  }

  invalidate(domain: number | undefined, pasid: number | undefined, range?: AddressRange): void {
    if (domain !== undefined && pasid !== undefined && range && range.bytes <= SMALL_RANGE) {
      this.#remove({ domain, pasid }, range);
      return;
    }
    this.#entries.invalidate(
      (entry) =>
        (domain === undefined || entry.tag.domain === domain) &&
        (pasid === undefined || entry.tag.pasid === pasid) &&
        (range === undefined ||
          (entry.start < range.start + range.bytes && range.start < entry.start + (1n << coverage(entry.level)))),
    );
  }

  /** Tables of every level that cover a part of a range. */
  #remove(tag: Tag, { start, bytes }: AddressRange): void {
    for (const level of LEVELS) {
      const step = 1n << coverage(level);
      for (let at = start - (start % step); at < start + bytes; at += step) this.#entries.remove(keyOf(tag, level, at));
    }
  }
}

function keyOf({ domain, pasid }: Tag, level: number, address: bigint): string {
  return `${domain}.${pasid}.${level}.${(address >> coverage(level)).toString(36)}`;
}
