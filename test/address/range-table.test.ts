import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RangeTable } from "../../src/address/range-table.ts";
import { sortInSteps } from "../../src/address/sort-in-steps.ts";

type Range = { start: bigint; last: bigint };

/** Runs steps to their end; counts them. */
function finish<T>(steps: Generator<void, T>): { value: T; steps: number } {
  for (let count = 1; ; count++) {
    const { done, value } = steps.next();
    if (done) return { value, steps: count };
  }
}

function table(ranges: readonly Range[]): RangeTable | undefined {
  const starts = BigUint64Array.from(ranges, ({ start }) => start);
  return finish(
    RangeTable.of(
      starts,
      BigUint64Array.from(ranges, ({ last }) => last),
    ),
  ).value;
}

const range = fc
  .record({ start: fc.bigInt({ min: 0n, max: 400n }), length: fc.bigInt({ min: 2n, max: 12n }) })
  .map(({ start, length }) => ({ start, last: start + length - 1n }));
const lists = fc.array(range, { maxLength: 20 });
const meets = (a: Range, b: Range) => a.start <= b.last && b.start <= a.last;

describe("a table of ranges", () => {
  test("takes exactly the lists without overlap, in any order", () => {
    fc.assert(
      fc.property(lists, (list) => {
        const overlap = list.some((a, i) => list.some((b, j) => i < j && meets(a, b)));
        const made = table(list);
        expect(made === undefined).toBe(overlap);
        const sorted = [...list].sort((a, b) => (a.start < b.start ? -1 : 1));
        if (made) expect([...made]).toEqual(sorted);
      }),
      { numRuns: 500 },
    );
  });

  test("finds what a plain list finds", () => {
    fc.assert(
      fc.property(lists, range, fc.bigInt({ min: 1n, max: 20n }), (list, window, length) => {
        const kept: Range[] = [];
        for (const each of list) if (!kept.some((other) => meets(each, other))) kept.push(each);
        const sorted = [...kept].sort((a, b) => (a.start < b.start ? -1 : 1));
        const made = table(kept)!;
        expect(made.meeting(window.start, window.last)).toEqual(sorted.find((each) => meets(each, window)));
        const bytes: bigint[] = [];
        for (let at = 0n; at < 450n; at++)
          if (sorted.some((each) => meets(each, { start: at, last: at }))) bytes.push(at);
        const joined: { start: bigint; last: bigint }[] = [];
        for (const at of bytes.filter((each) => meets(window, { start: each, last: each }))) {
          if (joined.at(-1)?.last === at - 1n) joined.at(-1)!.last = at;
          else joined.push({ start: at, last: at });
        }
        const long = joined.filter(({ start, last }) => last - start + 1n >= length);
        expect([...made.within(window.start, window.last, length)]).toEqual(long);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a sort in steps", () => {
  test("sorts as the runtime does, few values and many, and pauses among many", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.constantFrom(0, 1, 100, 5000, 40_000),
        fc.constantFrom(0n, 16n, 40n, 63n),
        (seed, count, spread) => {
          let state = BigInt(seed >>> 0) | 1n;
          const values = BigUint64Array.from({ length: count }, () => {
            state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
            return state >> spread;
          });
          const expected = values.slice().sort();
          const { steps } = finish(sortInSteps(values));
          expect(values).toEqual(expected);
          if (count === 40_000) expect(steps).toBeGreaterThan(10);
        },
      ),
      { numRuns: 30 },
    );
  });
});
