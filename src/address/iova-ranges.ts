import { LAST_PAGE } from "./pages.ts";

/** Inclusive bytes. */
export interface IovaRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** What is left of sorted ranges when a hole is cut out of them. */
export function cutOut(ranges: readonly IovaRange[], hole: IovaRange): IovaRange[] {
  const left: IovaRange[] = [];
  for (const range of ranges) {
    if (hole.start > range.last || hole.last < range.start) {
      left.push(range);
      continue;
    }
    if (hole.start > range.start) left.push({ start: range.start, last: hole.start - 1n });
    if (hole.last < range.last) left.push({ start: hole.last + 1n, last: range.last });
  }
  return left;
}

/** What sorted ranges have in common with a window. */
export function clip(ranges: readonly IovaRange[], window: IovaRange): IovaRange[] {
  const left: IovaRange[] = [];
  for (const { start, last } of ranges) {
    if (start > window.last || last < window.start) continue;
    left.push({ start: start > window.start ? start : window.start, last: last < window.last ? last : window.last });
  }
  return left;
}

/** Sorted ranges with a test on page numbers that neither allocates nor needs a bigint. */
export class IovaRangeList {
  readonly ranges: readonly IovaRange[];
  readonly #firstPages: Float64Array;
  readonly #lastPages: Float64Array;

  constructor(ranges: readonly IovaRange[]) {
    this.ranges = ranges;
    // a range that does not begin or end on a page boundary holds only the whole pages inside
    this.#firstPages = Float64Array.from(ranges, (range) => Number((range.start + 0xfffn) >> 12n));
    this.#lastPages = Float64Array.from(ranges, (range) => Number((range.last + 1n) >> 12n) - 1);
  }

  static readonly EMPTY = new IovaRangeList([]);
  static readonly ALL = new IovaRangeList([{ start: 0n, last: 2n ** 64n - 1n }]);

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** Whether one range holds all of [start, start + pages). */
  holds(start: number, pages: number): boolean {
    const last = start + pages - 1;
    if (last > LAST_PAGE) return false;
    for (let i = 0; i < this.#firstPages.length; i++) {
      if (start >= this.#firstPages[i]! && last <= this.#lastPages[i]!) return true;
    }
    return false;
  }
}

/** The whole of a 64-bit address space. */
export const ALL_ADDRESSES: IovaRange = { start: 0n, last: 2n ** 64n - 1n };

/**
 * What of [window.start, window.last] none of the ranges covers, in order. The ranges may overlap and need no order.
 */
export function holesIn(window: IovaRange, ranges: Iterable<IovaRange>): IovaRange[] {
  let left: IovaRange[] = [window];
  for (const range of ranges) left = cutOut(left, range);
  return left;
}
