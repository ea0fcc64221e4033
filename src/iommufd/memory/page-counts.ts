import type { IovaRange } from "../../address/iova-ranges.ts";
import { type Span, SpanMap } from "../../address/span-map.ts";

/** Pages side by side that are needed equally often. */
interface Counted extends Span {
  readonly count: number;
}

/** How often each page is needed; pages that nobody needs are not in it. Ranges are inclusive page numbers. */
export class PageCounts {
  readonly #spans = new SpanMap<Counted>();

  /** Whether a page of the range is needed. */
  has({ start, last }: IovaRange): boolean {
    return this.#spans.meeting(start, last) !== undefined;
  }

  /** How many pages of a range nobody needs. */
  missing({ start, last }: IovaRange): number {
    let count = 0n;
    for (const hole of this.#spans.holes(start, last, 1n)) count += hole.last - hole.start + 1n;
    return Number(count);
  }

  /** One more needs them. */
  add(range: IovaRange): void {
    this.#change(range, 1);
  }

  /** One fewer needs them. */
  subtract(range: IovaRange): void {
    this.#change(range, -1);
  }

  #change({ start, last }: IovaRange, by: number): void {
    const spans = this.#spans;
    const met: Counted[] = [];
    // also those that touch the range, which may become one with it
    for (const span of spans.since(start === 0n ? 0n : start - 1n)) {
      if (span.start > last + 1n) break;
      met.push(span);
    }
    for (const span of met) spans.delete(span);
    const changed: { start: bigint; last: bigint; count: number }[] = [];
    const put = (from: bigint, to: bigint, count: number) => {
      if (from > to || count === 0) return;
      const before = changed.at(-1);
      if (before?.count === count && before.last + 1n === from) before.last = to;
      else changed.push({ start: from, last: to, count });
    };
    let at = start;
    for (const span of met) {
      put(span.start, span.last < start ? span.last : start - 1n, span.count);
      if (span.last >= start && span.start <= last) {
        put(at, span.start - 1n, by);
        const from = span.start > start ? span.start : start;
        const to = span.last < last ? span.last : last;
        put(from, to, span.count + by);
        at = to + 1n;
      }
      if (span.last > last) {
        put(at, last, by);
        at = last + 1n;
        put(span.start > last ? span.start : last + 1n, span.last, span.count);
      }
    }
    put(at, last, by);
    for (const span of changed) spans.add(span);
  }
}
