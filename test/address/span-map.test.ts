import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Span, SpanMap } from "../../src/address/span-map.ts";

const place = fc.record({ start: fc.bigInt({ min: 0n, max: 3000n }), length: fc.bigInt({ min: 1n, max: 12n }) });
const call = fc.record({ kind: fc.constantFrom("add", "add", "add", "delete", "find"), place });

/** By looking at each. */
function holesOf(list: readonly Span[], { start, last }: Span, length: bigint): Span[] {
  const holes: Span[] = [];
  let free = start;
  for (const span of [...list.filter((each) => each.last >= start && each.start <= last), undefined]) {
    const end = span ? span.start - 1n : last;
    if (end - free + 1n >= length && free <= end) holes.push({ start: free, last: end });
    if (span) free = span.last + 1n;
  }
  return holes;
}

describe("a span map", () => {
  test("finds what a plain list finds", () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 900, size: "max" }), (calls) => {
        const map = new SpanMap<Span>();
        let list: Span[] = [];
        for (const { kind, place: at } of calls) {
          const span = { start: at.start, last: at.start + at.length - 1n };
          const met = list.filter(({ start, last }) => start <= span.last && last >= span.start);
          expect(map.meeting(span.start, span.last)).toBe(met[0]);
          if (kind === "add" && met.length === 0) {
            map.add(span);
            list = [...list, span].sort((a, b) => (a.start < b.start ? -1 : 1));
          } else if (kind === "delete" && met[0]) {
            map.delete(met[0]);
            list = list.filter((other) => other !== met[0]);
          } else {
            expect(map.from(at.start)).toBe(list.find(({ last }) => last >= at.start));
          }
          expect(map.size).toBe(list.length);
          if (at.start % 8n !== 0n) continue;
          const window = { start: at.start, last: at.start + at.length * 200n };
          expect([...map.holes(window.start, window.last, at.length)]).toEqual(holesOf(list, window, at.length));
        }
        expect([...map]).toEqual(list);
      }),
      { numRuns: 40 },
    );
  });

  test("reaches to the last byte of the address space", () => {
    const map = new SpanMap<Span>();
    const last = { start: 2n ** 64n - 1n, last: 2n ** 64n - 1n };
    map.add(last);
    map.add({ start: 0n, last: 0n });
    expect(map.meeting(1n, 2n ** 64n - 1n)).toBe(last);
    expect(map.meeting(1n, 2n ** 64n - 2n)).toBeUndefined();
  });

  test("refuses to take out what is not in it", () => {
    const map = new SpanMap<Span>();
    map.add({ start: 5n, last: 9n });
    expect(() => map.delete({ start: 5n, last: 9n })).toThrow(RangeError);
  });

  test("holds a hundred thousand spans at rising and falling addresses", () => {
    const map = new SpanMap<Span>();
    for (let i = 0n; i < 50_000n; i++) {
      map.add({ start: 2n ** 40n + i * 16n, last: 2n ** 40n + i * 16n + 7n });
      map.add({ start: 2n ** 40n - 16n * (i + 1n), last: 2n ** 40n - 16n * (i + 1n) });
    }
    expect(map.size).toBe(100_000);
    expect(map.from(0n)?.start).toBe(2n ** 40n - 16n * 50_000n);
    expect(map.meeting(2n ** 40n + 8n, 2n ** 40n + 15n)).toBeUndefined();
  });

  test("finds room behind a hundred thousand holes that are too small without looking at each", () => {
    const map = new SpanMap<Span>();
    let looked = 0;
    const span = (start: bigint): Span => ({
      get start() {
        looked++;
        return start;
      },
      last: start + 7n,
    });
    for (let i = 0n; i < 100_000n; i++) map.add(span(i * 16n));
    for (let i = 0; i < 3; i++) {
      looked = 0;
      expect(map.holes(0n, 2n ** 40n, 64n).next().value).toEqual({ start: 100_000n * 16n - 8n, last: 2n ** 40n });
    }
    // the first time it had to
    expect(looked).toBeLessThan(1000);
    const gone = map.from(50_000n * 16n)!;
    map.delete(gone);
    map.delete(map.from(gone.start)!);
    map.delete(map.from(gone.start)!);
    map.delete(map.from(gone.start)!);
    expect(map.holes(0n, 2n ** 40n, 64n).next().value).toEqual({ start: gone.start - 8n, last: gone.start + 63n });
  });
});
