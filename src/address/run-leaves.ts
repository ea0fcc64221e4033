/** Runs that a leaf has room for. */
const LEAF = 48;
/** A leaf, in doubles. */
const STRIDE = LEAF * 2;
const SLAB_SHIFT = 8;
/** Leaves in one slab: what is allocated and given back at a time. */
const SLAB = 1 << SLAB_SHIFT;
const SLAB_MASK = SLAB - 1;
const NONE = -1;

/**
 * The leaves of an interval map: up to 48 runs each, sorted, in slabs. A leaf is a number; what it holds begins at
 * baseOf(leaf) of slabOf(leaf): the first pages of its runs as doubles, then for each run its length and its value as
 * words of 32 bits, which wordsOf(leaf) shows. Dense, because what a lookup among a million runs waits for is memory.
 *
 * Where runs move, value and length move as one double. The length is its upper word, and so small that the double is a
 * number: JavaScript may change the bits of a NaN on the way.
 *
 * There may be a gap in front of the runs, so that the first one is taken out without a move of the others, and of
 * those before another and those behind it the fewer move. First pages in the gap are -Infinity, those behind the runs
 * Infinity: a search needs to know of neither.
 */
export class RunLeaves {
  /** Where the runs of each leaf begin: how large the gap is. */
  firsts = new Uint8Array(1);
  /** Where they end; 0 where there is no leaf. */
  ends = new Uint8Array(1);
  /** Number of leaves. */
  used = 0;
  readonly #slabs: Float64Array[] = [new Float64Array(STRIDE)];
  /** The same memory. */
  readonly #words: Uint32Array[] = [new Uint32Array(this.#slabs[0]!.buffer)];
  /** The leaves that are free, linked through where their runs were. */
  #free = NONE;
  /** Leaves from here on were never used. */
  #fresh = 0;

  slabOf(leaf: number): Float64Array {
    return this.#slabs[leaf >>> SLAB_SHIFT]!;
  }

  wordsOf(leaf: number): Uint32Array {
    return this.#words[leaf >>> SLAB_SHIFT]!;
  }

  baseOf(leaf: number): number {
    return (leaf & SLAB_MASK) * STRIDE;
  }

  /** The first page of a leaf's first run. */
  firstOf(leaf: number): number {
    return this.slabOf(leaf)[this.baseOf(leaf) + this.firsts[leaf]!]!;
  }

  /** How many runs a leaf has. */
  lengthOf(leaf: number): number {
    return this.ends[leaf]! - this.firsts[leaf]!;
  }

  /** How many leaves there is room for. */
  get capacity(): number {
    return this.ends.length;
  }

  /** A leaf without runs. Arrays got before may no longer be the leaves'. */
  take(): number {
    let leaf = this.#free;
    if (leaf === NONE) {
      leaf = this.#fresh++;
      if (leaf === this.ends.length) this.#grow();
    } else {
      this.#free = this.slabOf(leaf)[this.baseOf(leaf)]!;
    }
    this.empty(leaf);
    this.used++;
    return leaf;
  }

  give(leaf: number): void {
    this.ends[leaf] = 0;
    this.slabOf(leaf)[this.baseOf(leaf)] = this.#free;
    this.#free = leaf;
    this.used--;
  }

  /** Takes all runs of a leaf out. */
  empty(leaf: number): void {
    const slab = this.slabOf(leaf);
    const base = this.baseOf(leaf);
    // for so few, fill() is slower
    for (let i = base; i < base + LEAF; i++) slab[i] = Number.POSITIVE_INFINITY;
    this.firsts[leaf] = 0;
    this.ends[leaf] = 0;
  }

  /**
   * Makes a place for a run before the one at `at` of a leaf that has room at its end, or a gap; returns where it is.
   * @param slab slabOf(leaf)
   * @param base baseOf(leaf)
   */
  open(leaf: number, slab: Float64Array, base: number, at: number): number {
    const end = this.ends[leaf]!;
    if (at < end) return this.#openWithin(leaf, slab, base, at);
    this.ends[leaf] = end + 1;
    return at;
  }

  /** The fewer of the others move. */
  #openWithin(leaf: number, slab: Float64Array, base: number, at: number): number {
    const first = this.firsts[leaf]!;
    const end = this.ends[leaf]!;
    if (first > 0 && (at - first < end - at || end === LEAF)) {
      this.firsts[leaf] = first - 1;
      const to = at - 1;
      for (let i = base + first - 1; i < base + to; i++) {
        slab[i] = slab[i + 1]!;
        slab[i + LEAF] = slab[i + 1 + LEAF]!;
      }
      return to;
    }
    this.ends[leaf] = end + 1;
    for (let i = base + end; i > base + at; i--) {
      slab[i] = slab[i - 1]!;
      slab[i + LEAF] = slab[i - 1 + LEAF]!;
    }
    return at;
  }

  /**
   * Takes a run of a leaf out; returns where the one behind it is.
   * @param slab slabOf(leaf)
   * @param base baseOf(leaf)
   */
  remove(leaf: number, slab: Float64Array, base: number, at: number): number {
    if (at > this.firsts[leaf]!) return this.#removeWithin(leaf, slab, base, at);
    this.firsts[leaf] = at + 1;
    slab[base + at] = Number.NEGATIVE_INFINITY;
    return at + 1;
  }

  /** The fewer of the others move. */
  #removeWithin(leaf: number, slab: Float64Array, base: number, at: number): number {
    const first = this.firsts[leaf]!;
    const last = this.ends[leaf]! - 1;
    if (at - first < last - at) {
      this.firsts[leaf] = first + 1;
      for (let i = base + at; i > base + first; i--) {
        slab[i] = slab[i - 1]!;
        slab[i + LEAF] = slab[i - 1 + LEAF]!;
      }
      slab[base + first] = Number.NEGATIVE_INFINITY;
      return at + 1;
    }
    this.ends[leaf] = last;
    for (let i = base + at; i < base + last; i++) {
      slab[i] = slab[i + 1]!;
      slab[i + LEAF] = slab[i + 1 + LEAF]!;
    }
    slab[base + last] = Number.POSITIVE_INFINITY;
    return at;
  }

  /** Closes the gap of a leaf; returns how far its runs have moved. */
  pack(leaf: number): number {
    const first = this.firsts[leaf]!;
    const end = this.ends[leaf]!;
    const slab = this.slabOf(leaf);
    const base = this.baseOf(leaf);
    for (let i = base + first, j = base; i < base + end; i++, j++) {
      slab[j] = slab[i]!;
      slab[j + LEAF] = slab[i + LEAF]!;
    }
    for (let i = base + end - first; i < base + end; i++) slab[i] = Number.POSITIVE_INFINITY;
    this.firsts[leaf] = 0;
    this.ends[leaf] = end - first;
    return first;
  }

  /** Moves the runs of a leaf from `at` on to the end of another that has room. */
  move(from: number, at: number, to: number): void {
    const moved = this.ends[from]! - at;
    if (this.ends[to]! + moved > LEAF) this.pack(to);
    const source = this.slabOf(from);
    const target = this.slabOf(to);
    const start = this.baseOf(from) + at;
    for (let i = start, j = this.baseOf(to) + this.ends[to]!; i < start + moved; i++, j++) {
      target[j] = source[i]!;
      target[j + LEAF] = source[i + LEAF]!;
      source[i] = Number.POSITIVE_INFINITY;
    }
    this.ends[to]! += moved;
    this.ends[from] = at;
  }

  /** Whether so much is free that the last slab should be given back. */
  get wasteful(): boolean {
    const free = this.#fresh - this.used;
    return free >= 1.5 * SLAB && free > this.used >>> 2;
  }

  /**
   * Gives the last slab back.
   * @param moved is told the new number of each leaf that has got another
   */
  dropLastSlab(moved: (leaf: number) => void): void {
    const kept = (this.#slabs.length - 1) * SLAB;
    this.#free = NONE;
    for (let leaf = kept - 1; leaf >= 0; leaf--) {
      if (this.ends[leaf] === 0) {
        this.slabOf(leaf)[this.baseOf(leaf)] = this.#free;
        this.#free = leaf;
      }
    }
    for (let leaf = kept; leaf < this.#fresh; leaf++) {
      if (this.ends[leaf] === 0) continue;
      const to = this.take();
      this.move(leaf, this.firsts[leaf]!, to);
      this.used--;
      moved(to);
    }
    this.#slabs.pop();
    this.#words.pop();
    this.#fresh = kept;
    this.firsts = this.firsts.slice(0, kept);
    this.ends = this.ends.slice(0, kept);
  }

  #grow(): void {
    const leaves = this.ends.length;
    // the first slab begins small: most containers have few mappings
    const more = leaves < SLAB ? Math.min(leaves * 3, SLAB - leaves) : SLAB;
    const firsts = new Uint8Array(leaves + more);
    firsts.set(this.firsts);
    this.firsts = firsts;
    const ends = new Uint8Array(leaves + more);
    ends.set(this.ends);
    this.ends = ends;
    const slab = new Float64Array((leaves < SLAB ? leaves + more : SLAB) * STRIDE);
    if (leaves < SLAB) slab.set(this.#slabs.pop()!);
    if (leaves < SLAB) this.#words.pop();
    this.#slabs.push(slab);
    this.#words.push(new Uint32Array(slab.buffer));
  }
}
