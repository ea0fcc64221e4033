/** How a cache was used. */
export interface CacheStatistics {
  hits: number;
  misses: number;
  /** Entries that had to go to make room. */
  evicted: number;
  /** Entries that an invalidation removed. */
  invalidated: number;
}

/** A small generator of numbers for choosing victims (xorshift32): one seed gives one run. */
export class VictimChooser {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 0x9e3779b9;
  }

  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }
}

/** A cache of bounded size: when it is full, an entry chosen by chance makes room. */
export class EvictingMap<V> {
  readonly statistics: CacheStatistics = { hits: 0, misses: 0, evicted: 0, invalidated: 0 };
  readonly #capacity: number;
  readonly #victims: VictimChooser;
  readonly #entries = new Map<string, V>();
  readonly #keys: string[] = [];

  constructor(capacity: number, victims: VictimChooser) {
    this.#capacity = capacity;
    this.#victims = victims;
  }

  get size(): number {
    return this.#entries.size;
  }

  values(): Iterable<V> {
    return this.#entries.values();
  }

  /** Looks an entry up without counting. */
  peek(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    if (this.#capacity === 0) return;
    if (!this.#entries.has(key)) {
      if (this.#keys.length >= this.#capacity) this.#evict();
      this.#keys.push(key);
    }
    this.#entries.set(key, value);
  }

  /** Removes all entries that `matches` says yes to. */
  invalidate(matches: (value: V) => boolean): void {
    let kept = 0;
    for (const key of this.#keys) {
      if (matches(this.#entries.get(key)!)) {
        this.#entries.delete(key);
        this.statistics.invalidated++;
      } else {
        this.#keys[kept++] = key;
      }
    }
    this.#keys.length = kept;
  }

  #evict(): void {
    const index = this.#victims.below(this.#keys.length);
    this.#entries.delete(this.#keys[index]!);
    this.#keys[index] = this.#keys[this.#keys.length - 1]!;
    this.#keys.pop();
    this.statistics.evicted++;
  }
}
