import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IntervalMap } from "../../src/address/interval-map.ts";
import { LeafIndex } from "../../src/address/leaf-index.ts";
import { SortedRuns } from "./sorted-runs.ts";

const PAGES = 200_000;

const operation = fc.record({
  kind: fc.constantFrom("put", "put", "put", "take", "take", "fill", "clear", "look"),
  order: fc.constantFrom("rising", "falling", "scattered"),
  start: fc.nat(PAGES),
  pages: fc.integer({ min: 1, max: 40 }),
  count: fc.nat(3000),
  step: fc.integer({ min: 1, max: 50 }),
});

/** Where `pages` are free in front of a run, at or behind a page; -1 where none are. */
function holeIn(model: SortedRuns, page: number, pages: number): number {
  let free = page;
  for (const [start, length] of model.runs) {
    if (start + length <= page) continue;
    if (start - free >= pages) return free;
    free = start + length;
  }
  return -1;
}

function* places({ order, start, count, step }: { order: string; start: number; count: number; step: number }) {
  for (let i = 0; i < count; i++) {
    const at = order === "rising" ? i : order === "falling" ? count - 1 - i : (i * 7919) % Math.max(count, 1);
    yield start + at * step;
  }
}

describe("holes of an interval map", () => {
  test("are those of a sorted array, over random operations", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30, size: "max" }), (operations) => {
        const map = new IntervalMap({ knowsHoles: true });
        const model = new SortedRuns();
        const put = (page: number, pages: number) => {
          if (map.overlaps(page, pages)) return;
          map.insert(page, pages, 1);
          model.insert(page, pages, 1);
        };
        for (const each of operations) {
          const { kind, start, pages } = each;
          if (kind === "put") put(start, pages);
          if (kind === "fill") for (const page of places(each)) put(page, Math.min(pages, 1 + (page % 7)));
          if (kind === "take") {
            for (const page of places(each)) {
              if (!map.overlaps(page, 1)) continue;
              model.remove(model.from(page));
              map.removeHere();
            }
          }
          if (kind === "clear" && start < 5000) {
            map.clear();
            model.runs.length = 0;
          }
          for (const wanted of [1, pages, 100 * pages, start]) {
            const hole = holeIn(model, start, wanted);
            expect(map.seekHole(start, wanted)).toBe(hole);
            if (hole >= 0) expect(map.start).toBeGreaterThanOrEqual(hole + wanted);
          }
          const last = model.runs.at(-1);
          expect(map.end).toBe(last ? last[0] + last[1] : 0);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("are found behind long runs too", () => {
    const map = new IntervalMap({ knowsHoles: true });
    map.insert(0, 2 ** 40, 1);
    map.insert(2 ** 40 + 7, 2 ** 33, 2);
    map.insert(2 ** 42, 1, 3);
    expect([map.seekHole(0, 7), map.start]).toEqual([2 ** 40, 2 ** 40 + 7]);
    expect([map.seekHole(0, 8), map.start]).toEqual([2 ** 40 + 7 + 2 ** 33, 2 ** 42]);
    expect(map.seekHole(0, 2 ** 42)).toBe(-1);
  });

  test("take steps that hardly grow with the runs, whatever was done before", () => {
    const steps = (count: number, order: string) => {
      const map = new IntervalMap({ knowsHoles: true });
      for (const page of places({ order, start: 8, count, step: 8 })) map.insert(page, 6, 1);
      // holes of two pages in front of each, and of one place more where a run is taken out again and again
      const looked = counted(() => {
        for (let i = 0; i < 200; i++) {
          expect(map.seekHole(8, 10)).toBe(-1);
          const page = 8 * (2 + ((i * 7919) % (count - 4)));
          expect(map.overlaps(page, 1)).toBe(true);
          map.removeHere();
          expect(map.seekHole(8, 9)).toBe(page - 2);
          map.insert(page, 6, 1);
        }
      });
      return looked;
    };
    for (const order of ["rising", "falling", "scattered"]) {
      const few = steps(1000, order);
      expect(steps(300_000, order)).toBeLessThan(4 * few);
    }
  });
});

/** How many times a leaf was looked into or an index searched meanwhile. */
function counted(work: () => void): number {
  let count = 0;
  const { toNextHole } = LeafIndex.prototype;
  LeafIndex.prototype.toNextHole = function (size) {
    count++;
    return toNextHole.call(this, size);
  };
  try {
    work();
  } finally {
    LeafIndex.prototype.toNextHole = toNextHole;
  }
  return count;
}
