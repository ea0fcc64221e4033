import { EvictingMap, type VictimChooser } from "./evicting-map.ts";
import type { Permission, WalkCache } from "./first-level.ts";
import type { AddressRange, Tag } from "./iotlb.ts";

/** A remembered table: the one of `level` for the addresses from `start` on. */
interface RememberedTable extends Permission {
  readonly tag: Tag;
  readonly level: number;
  readonly start: bigint;
  readonly table: bigint;
}

/** log2 of the bytes that a table of a level covers. */
function coverage(level: number): bigint {
  return 12n + 9n * BigInt(level);
}

/** The paging-structure caches: which table the walk of an address gets to. An invalidation with the leaf hint leaves them alone. */
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
    const keyOf = (level: number, address: bigint) =>
      `${tag.domain}.${tag.pasid}.${level}.${(address >> coverage(level)).toString(36)}`;
    return {
      find(level, address) {
        const found = entries.peek(keyOf(level, address));
        if (found) entries.statistics.hits++;
        return found;
      },
      remember(level, address, found) {
        const shift = coverage(level);
        entries.set(keyOf(level, address), { tag, level, start: (address >> shift) << shift, ...found });
      },
    };
  }

  invalidate(domain: number | undefined, pasid: number | undefined, range?: AddressRange): void {
    this.#entries.invalidate(
      (entry) =>
        (domain === undefined || entry.tag.domain === domain) &&
        (pasid === undefined || entry.tag.pasid === pasid) &&
        (range === undefined ||
          (entry.start < range.start + range.bytes && range.start < entry.start + (1n << coverage(entry.level)))),
    );
  }
}
