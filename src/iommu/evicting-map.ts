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

/** A place in a cache. */
interface Slot<V> {
  readonly key: string;
  value: V;
  /** Where it is among the slots. */
  index: number;
}

/** A cache of bounded size: when it is full, an entry chosen by chance makes room. */
export class EvictingMap<V> {
  readonly statistics: CacheStatistics = { hits: 0, misses: 0, evicted: 0, invalidated: 0 };
  readonly #capacity: number;
  readonly #victims: VictimChooser;
  readonly #byKey = new Map<string, Slot<V>>();
  /** The same side by side, for invalidations that look at all of them. */
  readonly #slots: Slot<V>[] = [];

  constructor(capacity: number, victims: VictimChooser) {
    this.#capacity = capacity;
    this.#victims = victims;
  }

  get size(): number {
    return this.#slots.length;
  }

  values(): Iterable<V> {
    return this.#slots.map(({ value }) => value);
  }

  /** Looks an entry up without counting. */
  peek(key: string): V | undefined {
    return this.#byKey.get(key)?.value;
  }

  set(key: string, value: V): void {
    if (this.#capacity === 0) return;
    const known = this.#byKey.get(key);
    if (known) {
      known.value = value;
      return;
    }
    if (this.#slots.length >= this.#capacity) this.#evict();
    const slot = { key, value, index: this.#slots.length };
    this.#byKey.set(key, slot);
    this.#slots.push(slot);
  }

  /** Removes one entry, if it is there. */
  remove(key: string): void {
    const slot = this.#byKey.get(key);
    if (!slot) return;
    this.#take(slot);
    this.statistics.invalidated++;
  }

  /** Removes all entries that `matches` says yes to: looks at each of them. */
  invalidate(matches: (value: V) => boolean): void {
    let kept = 0;
    for (const slot of this.#slots) {
      if (matches(slot.value)) {
        this.#byKey.delete(slot.key);
        this.statistics.invalidated++;
      } else {
        slot.index = kept;
        this.#slots[kept++] = slot;
      }
    }
    this.#slots.length = kept;
  }

  #evict(): void {
    this.#take(this.#slots[this.#victims.below(this.#slots.length)]!);
    this.statistics.evicted++;
  }

  /** The last slot comes to its place. */
  #take({ key, index }: Slot<V>): void {
    const last = this.#slots.pop()!;
    if (last.key !== key) {
      last.index = index;
      this.#slots[index] = last;
    }
    this.#byKey.delete(key);
  }
}
