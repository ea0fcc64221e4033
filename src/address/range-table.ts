import type { IovaRange } from "./iova-ranges.ts";
import { sortInSteps } from "./sort-in-steps.ts";

/** Ranges between two steps. */
const STEP = 4096;

/** Ranges to the byte that do not overlap, in order: millions of them, in typed arrays. Made once. */
export class RangeTable implements Iterable<IovaRange> {
  static readonly EMPTY = new RangeTable(new BigUint64Array(), new BigUint64Array());
  readonly #starts: BigUint64Array;
  readonly #lasts: BigUint64Array;

  private constructor(starts: BigUint64Array, lasts: BigUint64Array) {
    this.#starts = starts;
    this.#lasts = lasts;
  }

  /**
   * Takes ranges in any order, in steps of far less than a millisecond.
   * @param starts first bytes; sorted in place and kept
   * @param lasts last bytes, none before its start; the same
   * @returns undefined when two of them overlap
   */
  static *of(
    starts: BigUint64Array<ArrayBuffer>,
    lasts: BigUint64Array<ArrayBuffer>,
  ): Generator<void, RangeTable | undefined> {
    // Each on its own: of ranges that do not overlap the n-th start and the n-th end belong together, and of others
    // some start does not come after the end before it.
    for (const values of [starts, lasts]) if (!(yield* isRising(values))) yield* sortInSteps(values);
    for (let i = 1; i < starts.length; i++) {
      if (starts[i]! <= lasts[i - 1]!) return undefined;
      if (i % STEP === 0) yield;
    }
    return new RangeTable(starts, lasts);
  }

  get size(): number {
    return this.#starts.length;
  }

  *[Symbol.iterator](): Iterator<IovaRange> {
    for (let i = 0; i < this.size; i++) yield { start: this.#starts[i]!, last: this.#lasts[i]! };
  }

  /** The lowest range that meets [start, last]. */
  meeting(start: bigint, last: bigint): IovaRange | undefined {
    const at = this.#from(start);
    if (at === this.size || this.#starts[at]! > last) return undefined;
    return { start: this.#starts[at]!, last: this.#lasts[at]! };
  }

  /**
   * The parts of [start, last] that are in ranges, in order; ranges that touch as one. Only those of `length` bytes or
   * more.
   */
  *within(start: bigint, last: bigint, length: bigint): Generator<IovaRange> {
    for (let at = this.#from(start); at < this.size && this.#starts[at]! <= last; ) {
      const from = this.#starts[at]!;
      let end = this.#lasts[at]!;
      for (at++; at < this.size && this.#starts[at]! === end + 1n; at++) end = this.#lasts[at]!;
      const part = { start: from > start ? from : start, last: end < last ? end : last };
      if (part.last - part.start + 1n >= length) yield part;
    }
  }

  /** Number of ranges that end below an address. */
  #from(address: bigint): number {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#lasts[middle]! < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function* isRising(values: BigUint64Array): Generator<void, boolean> {
  for (let i = 1; i < values.length; i++) {
    if (values[i - 1]! >= values[i]!) return false;
    if (i % STEP === 0) yield;
  }
  return true;
}
