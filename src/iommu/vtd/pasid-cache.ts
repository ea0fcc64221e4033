import { EvictingMap, type VictimChooser } from "../evicting-map.ts";
import type { PasidEntry } from "./pasid-entry.ts";

interface CachedEntry {
  readonly source: number;
  readonly pasid: number;
  readonly entry: PasidEntry;
}

/** PASID table entries that the unit remembers, by device and PASID. */
export class PasidCache {
  readonly #entries: EvictingMap<CachedEntry>;

  constructor(capacity: number, victims: VictimChooser) {
    this.#entries = new EvictingMap(capacity, victims);
  }

  get statistics() {
    return this.#entries.statistics;
  }

  find(source: number, pasid: number): PasidEntry | undefined {
    const found = this.#entries.peek(source, pasid);
    const { statistics } = this.#entries;
    if (found) statistics.hits++;
    else statistics.misses++;
    return found?.entry;
  }

  remember(source: number, pasid: number, entry: PasidEntry): void {
    this.#entries.set(source, pasid, { source, pasid, entry });
  }

  /** Undefined stands for all. */
  invalidate(domain: number | undefined, pasid: number | undefined, source?: number): void {
    this.#entries.invalidate(
      (cached) =>
        (domain === undefined || cached.entry.domain === domain) &&
        (pasid === undefined || cached.pasid === pasid) &&
        (source === undefined || cached.source === source),
    );
  }
}
