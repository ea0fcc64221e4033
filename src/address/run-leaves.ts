/** Runs that a leaf has room for. */
const LEAF = 48;
/** Where the lengths and values of a leaf's runs begin, in words of 32 bits. */
const PAGES = LEAF * 2;
const VALUE = PAGES + 1;
/** A leaf, in doubles. */
const STRIDE = LEAF * 2;
const SLAB_SHIFT = 8;
/** Leaves in one slab: what is allocated and given back at a time. */
const SLAB = 1 << SLAB_SHIFT;
const SLAB_MASK = SLAB - 1;
const NONE = -1;

/**
 * The leaves of an interval map: up to 48 runs each, sorted, in slabs. A leaf is a number; what it holds begins at baseOf(leaf) of
 * slabOf(leaf): the first pages of its runs as doubles, then for each run its length and its value as words of 32 bits, which wordsOf(leaf)
 * shows. Dense, because what a lookup among a million runs waits for is memory. First pages that are not in use are Infinity.
 */
export class RunLeaves {
  /** How many runs each leaf has; 0 where there is no leaf. */
  lengths = new Uint8Array(1);
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
    return this.slabOf(leaf)[this.baseOf(leaf)]!;
  }

  /** A leaf without runs. Arrays got before may no longer be the leaves'. */
  take(): number {
    let leaf = this.#free;
    if (leaf === NONE) {
      leaf = this.#fresh++;
      if (leaf === this.lengths.length) this.#grow();
    } else {
      this.#free = this.slabOf(leaf)[this.baseOf(leaf)]!;
    }
    const base = this.baseOf(leaf);
    this.slabOf(leaf).fill(Number.POSITIVE_INFINITY, base, base + LEAF);
    this.used++;
    return leaf;
  }

  give(leaf: number): void {
    this.lengths[leaf] = 0;
    this.slabOf(leaf)[this.baseOf(leaf)] = this.#free;
    this.#free = leaf;
    this.used--;
  }

  /** Puts a run before the one at `at` of a leaf that has room. */
  insert(leaf: number, at: number, start: number, pages: number, value: number): void {
    const slab = this.slabOf(leaf);
    const words = this.wordsOf(leaf);
    const base = this.baseOf(leaf);
    const here = base + at;
    const there = here * 2 + PAGES;
    for (let i = base + this.lengths[leaf]!++, j = i * 2 + PAGES; i > here; i--, j -= 2) {
      slab[i] = slab[i - 1]!;
      words[j] = words[j - 2]!;
      words[j + 1] = words[j - 1]!;
    }
    slab[here] = start;
    words[there] = pages;
    words[there + 1] = value;
  }

  remove(leaf: number, at: number): void {
    const slab = this.slabOf(leaf);
    const words = this.wordsOf(leaf);
    const base = this.baseOf(leaf);
    const last = base + --this.lengths[leaf]!;
    for (let i = base + at, j = i * 2 + PAGES; i < last; i++, j += 2) {
      slab[i] = slab[i + 1]!;
      words[j] = words[j + 2]!;
      words[j + 1] = words[j + 3]!;
    }
    slab[last] = Number.POSITIVE_INFINITY;
  }

  /** Moves the runs of a leaf from `at` on to the end of another that has room. */
  move(from: number, at: number, to: number): void {
    const source = this.slabOf(from);
    const target = this.slabOf(to);
    const sourceWords = this.wordsOf(from);
    const targetWords = this.wordsOf(to);
    const stop = this.baseOf(from) + this.lengths[from]!;
    for (let i = this.baseOf(from) + at, j = this.baseOf(to) + this.lengths[to]!; i < stop; i++, j++) {
      target[j] = source[i]!;
      targetWords[j * 2 + PAGES] = sourceWords[i * 2 + PAGES]!;
      targetWords[j * 2 + VALUE] = sourceWords[i * 2 + VALUE]!;
      source[i] = Number.POSITIVE_INFINITY;
    }
    this.lengths[to]! += this.lengths[from]! - at;
    this.lengths[from] = at;
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
      if (this.lengths[leaf] === 0) {
        this.slabOf(leaf)[this.baseOf(leaf)] = this.#free;
        this.#free = leaf;
      }
    }
    for (let leaf = kept; leaf < this.#fresh; leaf++) {
      if (this.lengths[leaf] === 0) continue;
      const to = this.take();
      this.move(leaf, 0, to);
      this.used--;
      moved(to);
    }
    this.#slabs.pop();
    this.#words.pop();
    this.#fresh = kept;
    this.lengths = this.lengths.slice(0, kept);
  }

  #grow(): void {
    const leaves = this.lengths.length;
    // the first slab begins small: most containers have few mappings
    const more = leaves < SLAB ? Math.min(leaves * 3, SLAB - leaves) : SLAB;
    const lengths = new Uint8Array(leaves + more);
    lengths.set(this.lengths);
    this.lengths = lengths;
    const slab = new Float64Array((leaves < SLAB ? leaves + more : SLAB) * STRIDE);
    if (leaves < SLAB) slab.set(this.#slabs.pop()!);
    if (leaves < SLAB) this.#words.pop();
    this.#slabs.push(slab);
    this.#words.push(new Uint32Array(slab.buffer));
  }
}
