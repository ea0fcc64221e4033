import { LeafIndex } from "./leaf-index.ts";
import { RunLeaves } from "./run-leaves.ts";

// A module's own constants are constants to V8; imported ones it loads and checks each time.
/**
 * Runs that a leaf has room for, and leaves that an inner node has room for: #descend() is written for these numbers.
 */
const LEAF = 48;
const INNER = 64;
/** A leaf that has fewer runs is joined with a neighbour, if both together leave room. */
const FEW = (LEAF * 3) / 8;
const JOINED = (LEAF * 3) / 4;
/**
 * When its runs are taken out from the front, it asks its neighbours when it has a multiple of 8, and the last time
 * when it has none.
 */
const LOOK = 7;
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
/**
 * Where the lengths and values of a leaf's runs begin, in words of 32 bits: of each double the length is the upper one
 * (run-leaves.ts).
 */
const PAGES = LEAF * 2 + (LITTLE_ENDIAN ? 1 : 0);
const VALUE = LEAF * 2 + (LITTLE_ENDIAN ? 0 : 1);
/**
 * The length of a run that #long has, because it is longer than this. Up to this the double is neither infinite nor a
 * NaN.
 */
const LONG = 0;
const MAX_PAGES = 0x7fef_ffff;
/** The largest number of an inner node: V8 then knows that a place among their keys does not overflow. */
const MAX_NODE = 0xff_ffff;
const NONE = -1;

/**
 * Non-overlapping runs of pages, each with a 32-bit value: what the kernel keeps in a red-black tree of vfio_dma. Here
 * it is a B+ tree of three levels (leaf-index.ts, run-leaves.ts) in a few arrays of doubles: a lookup among a million
 * runs waits for memory about twice, where a binary tree waits ten times, and there is nothing in it that a garbage
 * collector walks.
 *
 * The map has one cursor: seek() and next() move it, start, pages and value read the run there. No call allocates but
 * the growth of the arrays, which are given back as runs are taken out.
 *
 * What a page is does not matter here: any whole numbers below 2^53 that are counted from 0 will do.
 */
export class IntervalMap {
  /** Number of runs. */
  size = 0;
  #leaves = new RunLeaves();
  /** The place of the index is the cursor's leaf. */
  #index = new LeafIndex(this.#leaves.take());
  /**
   * The cursor: a leaf, where it lies, and a run in it; when there is no run at the cursor, the end of the last leaf.
   */
  #leaf = 0;
  #slab = this.#leaves.slabOf(0);
  #words = this.#leaves.wordsOf(0);
  #base = 0;
  #at = 0;
  /** No run reaches this page or one behind it: what is mapped at rising addresses need not be looked for. */
  #beyond = 0;
  /**
   * Where the lowest run begins: what is mapped and unmapped in the same order need not be looked for either. -1
   * without a run.
   */
  #lowest = NONE;
  /**
   * What #descend() looks for. As its argument it would be an object on the heap each time: a number that has not 31
   * bits.
   */
  readonly #sought = new Float64Array(1);
  /** Lengths of more than MAX_PAGES pages, by first page. */
  readonly #long = new Map<number, number>();
  /** Whether seekHole() works. */
  readonly #knowsHoles: boolean;

  /** @param knowsHoles for seekHole(): runs are put in and taken out somewhat slower then */
  constructor({ knowsHoles = false } = {}) {
    this.#knowsHoles = knowsHoles;
  }

  /** The run at the cursor: its first page. Meaningful after seek() or next() returned true. */
  get start(): number {
    return this.#slab[this.#base + this.#at]!;
  }

  /** The run at the cursor: how many pages. */
  get pages(): number {
    const pages = this.#words[(this.#base + this.#at) * 2 + PAGES]!;
    return pages === LONG ? this.#long.get(this.start)! : pages;
  }

  /** The run at the cursor: its value. */
  get value(): number {
    return this.#words[(this.#base + this.#at) * 2 + VALUE]!;
  }

  /** Moves the cursor to the first run that ends at or after `page`; false when no run does. */
  seek(page: number): boolean {
    const at = this.#at;
    if (at < LEAF) {
      const here = this.#base + at;
      const start = this.#slab[here]!;
      // lookups often stay in a run; both comparisons in one, because the first alone cannot be foretold
      if (+(start <= page) & +(page < start + this.#words[here * 2 + PAGES]!)) return true;
    }
    this.#sought[0] = page;
    // V8 does not know what a call returns that it has not inlined, and would look at all that true and false can be
    return this.#search() === true;
  }

  /** Moves the cursor to the lowest run. */
  first(): boolean {
    return this.seek(0);
  }

  /** Moves the cursor to the last run that begins at or before `page`; false when no run does. */
  seekBefore(page: number): boolean {
    if (this.size === 0) return false;
    this.#sought[0] = page;
    this.#descend();
    const { start } = this;
    // where the first runs of the very first leaf were taken out, what is left of them lies below all pages
    return start <= page && start > Number.NEGATIVE_INFINITY;
  }

  /** Moves the cursor to the next run. */
  next(): boolean {
    const next = this.#at + 1;
    this.#at = next;
    return (next < LEAF && this.#slab[this.#base + next]! < Number.POSITIVE_INFINITY) || this.#toNextLeaf();
  }

  /** Whether any run meets [start, start + pages); the cursor is then on the lowest that does. */
  overlaps(start: number, pages: number): boolean {
    return start < this.#beyond && this.seek(start) && this.start < start + pages;
  }

  /** Adds a run. The caller has made sure that it overlaps none. The cursor is then on it. */
  insert(start: number, pages: number, value: number): void {
    const end = start + pages;
    if (start >= this.#beyond) {
      this.#toEnd();
      this.#beyond = end;
      if (this.size === 0) this.#lowest = start;
    } else {
      if (!this.#fitsHere(start)) this.#toGap(start);
      if (end > this.#beyond) this.#beyond = end;
      if (start < this.#lowest) this.#lowest = start;
    }
    if (this.#leaves.ends[this.#leaf] === LEAF) this.#makeRoom(start, end);
    const at = this.#leaves.open(this.#leaf, this.#slab, this.#base, this.#at);
    this.#at = at;
    const here = this.#base + at;
    this.#slab[here] = start;
    this.#words[here * 2 + PAGES] = pages > MAX_PAGES ? this.#keepLong(start, pages) : pages;
    this.#words[here * 2 + VALUE] = value;
    this.size++;
    if (this.#knowsHoles) this.#noteHoleHere();
  }

  /** @returns what its leaf has as the length */
  #keepLong(start: number, pages: number): number {
    this.#long.set(start, pages);
    return LONG;
  }

  /** Takes the run at the cursor out; the cursor is then on the run behind it, false when that was the last. */
  removeHere(): boolean {
    return this.#knowsHoles ? this.#removeBetweenHoles() : this.#removeHere();
  }

  #removeBetweenHoles(): boolean {
    const end = this.#endBefore();
    if (!this.#removeHere()) return false;
    // the holes before and behind it are one
    this.#index.noteHole(this.start - end);
    return true;
  }

  /**
   * Moves the cursor to the lowest run behind `page` that has `pages` or more free in front of it, at or behind `page`.
   * The steps are as many as a lookup takes.
   * @returns where the free pages begin, `page` or behind; -1 when only those behind the last run are left
   */
  seekHole(page: number, pages: number): number {
    if (!this.seek(page)) return NONE;
    let free = page;
    let largest = 0;
    let isWhole = false;
    for (;;) {
      for (let more = true; more; more = this.#nextInLeaf()) {
        const { start } = this;
        const size = start - free;
        if (size >= pages) return free;
        if (size > largest) largest = size;
        free = start + this.pages;
      }
      if (isWhole) this.#index.setHole(largest);
      const leaf = this.#index.toNextHole(pages);
      if (leaf === NONE) return NONE;
      this.#toLeaf(leaf);
      this.#at = this.#leaves.firsts[leaf]!;
      free = this.#endBefore();
      largest = 0;
      isWhole = true;
    }
  }

  /** Where the last run ends; 0 without a run. The cursor is behind it. */
  get end(): number {
    if (this.size === 0) return 0;
    this.#toEnd();
    return this.#endBefore();
  }

  #removeHere(): boolean {
    const leaves = this.#leaves;
    const leaf = this.#leaf;
    const at = this.#at;
    const start = this.#slab[this.#base + at]!;
    if (this.#long.size > 0) this.#long.delete(start);
    if (--this.size === 0) return this.#empty();
    const isFirst = at === leaves.firsts[leaf]!;
    this.#at = leaves.remove(leaf, this.#slab, this.#base, at);
    const length = leaves.lengthOf(leaf);
    // where runs go one after the other, not each time: of two neighbours that have become small, the one that did last
    // finds the other
    if (length < FEW && (!isFirst || (length & LOOK) === 0) && this.#join(leaf, length)) return this.#toBehind(start);
    // the key of the very first leaf is never looked at; that of another is exactly the first run's, because a run in
    // the leaf before that ends behind the key would not be found
    if (start === this.#lowest) this.#lowest = this.start;
    else if (isFirst) this.#index.setKey(this.start);
    else return this.#at < leaves.ends[leaf]! || this.#toNextLeaf();
    return true;
  }

  /** Moves the cursor behind a run that has gone, when leaves have gone with it. */
  #toBehind(start: number): boolean {
    this.#sought[0] = start;
    const more = this.#searchTree();
    if (start === this.#lowest) this.#lowest = this.start;
    return more;
  }

  clear(): void {
    this.#leaves = new RunLeaves();
    const leaf = this.#leaves.take();
    this.#index = new LeafIndex(leaf);
    this.#toLeaf(leaf);
    this.#reset();
  }

  /** The last run goes: there is none behind it. */
  #empty(): boolean {
    if (this.#leaves.capacity > 1) {
      this.clear();
      return false;
    }
    // one mapping that comes and goes leaves nothing for the garbage collector
    this.#leaves.empty(this.#leaf);
    this.#reset();
    return false;
  }

  #reset(): void {
    this.#at = 0;
    this.#beyond = 0;
    this.#lowest = NONE;
    this.#long.clear();
    this.size = 0;
  }

  /**
   * What seek() does when the page in #sought is not in the run at the cursor: as a rule it is in the one behind it, or
   * anywhere.
   */
  #search(): boolean {
    const page = this.#sought[0]!;
    if (page <= this.#lowest) {
      this.#toLeaf(this.#index.toFirstLeaf());
      this.#at = this.#leaves.firsts[this.#leaf]!;
      return true;
    }
    const next = this.#at + 1;
    if (next < LEAF) {
      const there = this.#base + next;
      const start = this.#slab[there]!;
      if (+(start <= page) & +(page < start + this.#words[there * 2 + PAGES]!)) {
        this.#at = next;
        return true;
      }
    }
    return this.#searchTree();
  }

  /** The same without the cursor. */
  #searchTree(): boolean {
    const page = this.#sought[0]!;
    if (page >= this.#beyond) {
      this.#toEnd();
      return false;
    }
    // a run in front of the page may still reach it; only the very first can lie behind it
    return this.#descend() === true || this.next() === true;
  }

  /**
   * Moves the cursor to the last run that begins at or before the page in #sought; to the very first when all begin
   * behind it.
   *
   * Comparisons become numbers, not jumps: no processor can foretell which way a lookup goes, and one jump foretold
   * wrongly takes longer than all comparisons here. What is compared with first in a leaf lies in all of its lines:
   * they are not in the cache when there are a million runs, and are waited for once. Fewer comparisons in more steps
   * would take longer, because a step waits for the one before it. It is one function, because V8 would inline some
   * parts of it and not others.
   * @returns whether the run there ends behind the page
   */
  #descend(): boolean {
    const page = this.#sought[0]!;
    const index = this.#index;
    const rootKeys = index.rootKeys;
    let root = 0;
    for (let part = rootKeys.length >>> 2; part > 0; part >>>= 2) {
      root +=
        part *
        (+(rootKeys[root + part]! <= page) +
          +(rootKeys[root + 2 * part]! <= page) +
          +(rootKeys[root + 3 * part]! <= page));
    }
    const keys = index.keys;
    let place = (index.nodes[root]! & MAX_NODE) * INNER;
    const eights =
      +(keys[place + 8]! <= page) +
      +(keys[place + 16]! <= page) +
      +(keys[place + 24]! <= page) +
      +(keys[place + 32]! <= page) +
      +(keys[place + 40]! <= page) +
      +(keys[place + 48]! <= page) +
      +(keys[place + 56]! <= page);
    place += eights << 3;
    place +=
      +(keys[place + 1]! <= page) +
      +(keys[place + 2]! <= page) +
      +(keys[place + 3]! <= page) +
      +(keys[place + 4]! <= page) +
      +(keys[place + 5]! <= page) +
      +(keys[place + 6]! <= page) +
      +(keys[place + 7]! <= page);
    index.root = root;
    index.place = place;
    const leaf = index.leaves[place]!;
    const slab = this.#leaves.slabOf(leaf);
    const words = this.#leaves.wordsOf(leaf);
    const base = this.#leaves.baseOf(leaf);
    // also when they are the same: a jump that is foretold wrongly would end the waits of this lookup before the next's
    this.#leaf = leaf;
    this.#slab = slab;
    this.#words = words;
    this.#base = base;
    const fours =
      +(slab[base + 4]! <= page) +
      +(slab[base + 8]! <= page) +
      +(slab[base + 12]! <= page) +
      +(slab[base + 16]! <= page) +
      +(slab[base + 20]! <= page) +
      +(slab[base + 24]! <= page) +
      +(slab[base + 28]! <= page) +
      +(slab[base + 32]! <= page) +
      +(slab[base + 36]! <= page) +
      +(slab[base + 40]! <= page) +
      +(slab[base + 44]! <= page);
    let at = fours << 2;
    at += +(slab[base + at + 1]! <= page) + +(slab[base + at + 2]! <= page) + +(slab[base + at + 3]! <= page);
    this.#at = at;
    const start = slab[base + at]!;
    const pages = words[(base + at) * 2 + PAGES]!;
    return start + (pages === LONG ? this.#long.get(start)! : pages) > page;
  }

  /** Moves the cursor to a leaf; where in it is another matter. */
  #toLeaf(leaf: number): void {
    const slab = this.#leaves.slabOf(leaf);
    this.#leaf = leaf;
    this.#base = this.#leaves.baseOf(leaf);
    // a reference written is more work than one compared
    if (slab === this.#slab) return;
    this.#slab = slab;
    this.#words = this.#leaves.wordsOf(leaf);
  }

  /** The same within its leaf. */
  #nextInLeaf(): boolean {
    if (this.#at + 1 >= this.#leaves.ends[this.#leaf]!) return false;
    this.#at++;
    return true;
  }

  /** Where the run in front of the cursor ends; 0 when there is none. */
  #endBefore(): number {
    const leaves = this.#leaves;
    let leaf = this.#leaf;
    let at = this.#at - 1;
    if (at < leaves.firsts[leaf]!) {
      leaf = this.#index.before;
      if (leaf === NONE) return 0;
      at = leaves.ends[leaf]! - 1;
    }
    const here = leaves.baseOf(leaf) + at;
    const start = leaves.slabOf(leaf)[here]!;
    const pages = leaves.wordsOf(leaf)[here * 2 + PAGES]!;
    return start + (pages === LONG ? this.#long.get(start)! : pages);
  }

  /** Moves the cursor behind the last run. */
  #toEnd(): void {
    const leaf = this.#index.toLastLeaf();
    this.#toLeaf(leaf);
    this.#at = this.#leaves.ends[leaf]!;
  }

  #toNextLeaf(): boolean {
    const leaf = this.#index.toNextLeaf();
    if (leaf < 0) {
      this.#at = this.#leaves.ends[this.#leaf]!;
      return false;
    }
    this.#toLeaf(leaf);
    this.#at = this.#leaves.firsts[leaf]!;
    return true;
  }

  /** Whether a run belongs before the cursor's, in the same leaf: so it is after overlaps() said no. */
  #fitsHere(start: number): boolean {
    const at = this.#at;
    if (at === 0 || at === LEAF) return false;
    const here = this.#base + at;
    const before = this.#slab[here - 1]!;
    return before < start && start < this.#slab[here]! && before > Number.NEGATIVE_INFINITY;
  }

  /** Moves the cursor to where a run belongs. */
  #toGap(start: number): void {
    this.#sought[0] = start;
    this.#descend();
    if (this.start < start) this.#at++;
  }

  /**
   * The cursor's leaf has no room at its end. The cursor is where a run belongs from `start` to before `end`, also
   * afterwards.
   */
  #makeRoom(start: number, end: number): void {
    const first = this.#leaves.firsts[this.#leaf]!;
    if (first === 0) {
      this.#split(start, end);
      this.#toGap(start);
    } else if (this.#at - first >= LEAF - this.#at) {
      this.#at -= this.#leaves.pack(this.#leaf);
    }
  }

  /** Splits the cursor's leaf, which is full; the cursor is where a run belongs from `start` to before `end`. */
  #split(start: number, end: number): void {
    const leaves = this.#leaves;
    const at = this.#at;
    // runs made at rising or falling addresses leave full leaves behind
    const keep = at === LEAF || at === 0 ? at : LEAF / 2;
    const right = leaves.take();
    leaves.move(this.#leaf, keep, right);
    const hole = this.#knowsHoles ? this.#boundHoles(right, end) : 0;
    this.#index.insertBehind(keep === LEAF ? start : leaves.firstOf(right), right, hole);
  }

  /** The run at the cursor is new. */
  #noteHoleHere(): void {
    const leaves = this.#leaves;
    const behind = this.#at + 1;
    const end = this.#endBefore();
    if (behind === leaves.ends[this.#leaf]!) {
      this.#index.noteHole(this.start - end);
    } else if (this.#slab[this.#base + behind]! - end >= this.#index.hole) {
      // what it has made smaller was the largest hole
      const at = this.#at;
      this.#at = leaves.firsts[this.#leaf]!;
      this.#index.setHole(this.#largestHole(this.#leaf, this.#endBefore()));
      this.#at = at;
    }
  }

  /**
   * The leaf here has lost runs to one behind it, all of them where a run is to follow that ends before `end`. Looks at
   * the holes of both, so that old bounds do not last; returns the bound of the other.
   */
  #boundHoles(right: number, end: number): number {
    const leaves = this.#leaves;
    this.#at = leaves.firsts[this.#leaf]!;
    this.#index.setHole(this.#largestHole(this.#leaf, this.#endBefore()));
    if (leaves.lengthOf(right) === 0) return 0;
    this.#at = leaves.ends[this.#leaf]!;
    return this.#largestHole(right, this.#at === 0 ? end : this.#endBefore());
  }

  /** The largest hole in front of a leaf's runs. The run before its first one ends at `free`. */
  #largestHole(leaf: number, free: number): number {
    const leaves = this.#leaves;
    const slab = leaves.slabOf(leaf);
    const words = leaves.wordsOf(leaf);
    let largest = 0;
    for (
      let here = leaves.baseOf(leaf) + leaves.firsts[leaf]!, left = leaves.lengthOf(leaf);
      left > 0;
      here++, left--
    ) {
      const start = slab[here]!;
      if (start - free > largest) largest = start - free;
      const pages = words[here * 2 + PAGES]!;
      free = start + (pages === LONG ? this.#long.get(start)! : pages);
    }
    return largest;
  }

  /** Joins the cursor's leaf with a neighbour, or takes it out when it is empty. The cursor is undefined if it did. */
  #join(leaf: number, length: number): boolean {
    const leaves = this.#leaves;
    const index = this.#index;
    const { left, right } = index;
    if (right >= 0 && length + leaves.lengthOf(right) <= JOINED) {
      leaves.move(right, leaves.firsts[right]!, leaf);
      index.setKey(leaves.firstOf(leaf));
      index.removeRight();
      leaves.give(right);
    } else if (left >= 0 && length + leaves.lengthOf(left) <= JOINED) {
      leaves.move(leaf, leaves.firsts[leaf]!, left);
      index.removeToLeft();
      leaves.give(leaf);
    } else if (length === 0) {
      index.remove();
      leaves.give(leaf);
    } else {
      return false;
    }
    if (leaves.wasteful) this.#dropSlab();
    return true;
  }

  #dropSlab(): void {
    this.#leaves.dropLastSlab((leaf) => {
      this.#sought[0] = this.#leaves.firstOf(leaf);
      this.#descend();
      this.#index.setLeaf(leaf);
    });
  }
}
