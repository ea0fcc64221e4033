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

/** Entries that there is room for as soon as there is one: a power of two. */
const INITIAL = 16;
const NOTHING = new Float64Array(0);
const NO_LINKS = new Int32Array(0);
const NONE = -1;
/** What spreads keys over the chains. */
const MULTIPLIERS = [0x9e3779b1, 0x85ebca6b] as const;
const HIGH = 2 ** -32;

/**
 * A cache of bounded size: when it is full, an entry chosen by chance makes room. A key is two whole numbers below
 * 2^53: which of several spaces, and a place in there. Entries lie side by side in the order in which they came, but
 * that the last takes the place of one that goes; who has the same bits of a hash is in one chain.
 */
export class EvictingMap<V> {
  readonly statistics: CacheStatistics = { hits: 0, misses: 0, evicted: 0, invalidated: 0 };
  readonly #capacity: number;
  readonly #victims: VictimChooser;
  #size = 0;
  /** By entry: its key, its value, and the next of its chain. */
  #spaces = NOTHING;
  #places = NOTHING;
  readonly #values: (V | undefined)[] = [];
  #next = NO_LINKS;
  /** The first entry of each chain; as many as there is room for entries. */
  #heads = NO_LINKS;

  constructor(capacity: number, victims: VictimChooser) {
    this.#capacity = capacity;
    this.#victims = victims;
  }

  get size(): number {
    return this.#size;
  }

  values(): readonly V[] {
    return this.#values.slice(0, this.#size) as V[];
  }

  /** Looks an entry up without counting. */
  peek(space: number, place: number): V | undefined {
    const at = this.#find(space, place);
    return at === NONE ? undefined : this.#values[at];
  }

  set(space: number, place: number, value: V): void {
    if (this.#capacity === 0) return;
    const known = this.#find(space, place);
    if (known !== NONE) {
      this.#values[known] = value;
      return;
    }
    if (this.#size >= this.#capacity) this.#evict();
    if (this.#size === this.#next.length) this.#grow();
    const at = this.#size++;
    this.#spaces[at] = space;
    this.#places[at] = place;
    this.#values[at] = value;
    this.#link(at);
  }

  /** Removes one entry, if it is there. */
  remove(space: number, place: number): void {
    const at = this.#find(space, place);
    if (at === NONE) return;
    this.#take(at);
    this.statistics.invalidated++;
  }

  /** Removes all entries that `matches` says yes to: looks at each of them. */
  invalidate(matches: (value: V) => boolean): void {
    let kept = 0;
    for (let at = 0; at < this.#size; at++) {
      if (matches(this.#values[at]!)) continue;
      if (kept < at) this.#copy(at, kept);
      kept++;
    }
    if (kept === this.#size) return;
    this.statistics.invalidated += this.#size - kept;
    this.#size = kept;
    this.#values.length = kept;
    this.#linkAll();
  }

  #evict(): void {
    this.#take(this.#victims.below(this.#size));
    this.statistics.evicted++;
  }

  /** The last entry comes to its place. */
  #take(at: number): void {
    this.#unlink(at);
    const last = --this.#size;
    if (at !== last) {
      this.#unlink(last);
      this.#copy(last, at);
      this.#link(at);
    }
    // nothing is to be kept from the garbage collector
    this.#values[last] = undefined;
  }

  #copy(from: number, to: number): void {
    this.#spaces[to] = this.#spaces[from]!;
    this.#places[to] = this.#places[from]!;
    this.#values[to] = this.#values[from]!;
  }

  #find(space: number, place: number): number {
    if (this.#size === 0) return NONE;
    let at = this.#heads[this.#chainOf(space, place)]!;
    while (at !== NONE && (this.#places[at] !== place || this.#spaces[at] !== space)) at = this.#next[at]!;
    return at;
  }

  #chainOf(space: number, place: number): number {
    const mixed = Math.imul(place, MULTIPLIERS[0]) ^ Math.imul(space + place * HIGH + space * HIGH, MULTIPLIERS[1]);
    return (mixed ^ (mixed >>> 15)) & (this.#heads.length - 1);
  }

  #link(at: number): void {
    const chain = this.#chainOf(this.#spaces[at]!, this.#places[at]!);
    this.#next[at] = this.#heads[chain]!;
    this.#heads[chain] = at;
  }

  #unlink(at: number): void {
    const chain = this.#chainOf(this.#spaces[at]!, this.#places[at]!);
    let before = this.#heads[chain]!;
    if (before === at) {
      this.#heads[chain] = this.#next[at]!;
      return;
    }
    while (this.#next[before] !== at) before = this.#next[before]!;
    this.#next[before] = this.#next[at]!;
  }

  #linkAll(): void {
    this.#heads.fill(NONE);
    for (let at = 0; at < this.#size; at++) this.#link(at);
  }

  #grow(): void {
    const room = Math.max(INITIAL, this.#next.length * 2);
    const spaces = new Float64Array(room);
    const places = new Float64Array(room);
    spaces.set(this.#spaces);
    places.set(this.#places);
    this.#spaces = spaces;
    this.#places = places;
    this.#next = new Int32Array(room);
    this.#heads = new Int32Array(room);
    this.#linkAll();
  }
}
