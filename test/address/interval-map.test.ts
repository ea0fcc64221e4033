import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IntervalMap } from "../../src/address/interval-map.ts";

/** What the map holds, from the lowest run up. */
function contents(map: IntervalMap): number[][] {
  const runs: number[][] = [];
  for (let more = map.first(); more; more = map.next()) runs.push([map.start, map.pages, map.value]);
  return runs;
}

/** The same operations on a plain sorted array. */
class Naive {
  runs: number[][] = [];

  overlapping(start: number, pages: number): number[] | undefined {
    return this.runs.find(([first, count]) => first! < start + pages && start < first! + count!);
  }

  insert(start: number, pages: number, value: number): void {
    this.runs.push([start, pages, value]);
    this.runs.sort((a, b) => a[0]! - b[0]!);
  }

  remove(run: number[]): void {
    this.runs.splice(this.runs.indexOf(run), 1);
  }
}

const operation = fc.record({
  kind: fc.constantFrom("insert", "insert", "remove", "look"),
  start: fc.nat(4000),
  pages: fc.integer({ min: 1, max: 6 }),
});

describe("an interval map", () => {
  test("behaves as a sorted array does, over random operations", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 1500 }), (operations) => {
        const map = new IntervalMap();
        const naive = new Naive();
        for (const [index, { kind, start, pages }] of operations.entries()) {
          const found = naive.overlapping(start, pages);
          expect(map.overlaps(start, pages)).toBe(found !== undefined);
          if (found) expect([map.start, map.pages, map.value]).toEqual(found);
          if (kind === "insert" && !found) {
            map.insert(start, pages, index);
            naive.insert(start, pages, index);
          }
          if (kind === "remove" && found) {
            naive.remove(found);
            const next = naive.runs.find((run) => run[0]! > found[0]!);
            expect(map.removeHere()).toBe(next !== undefined);
            if (next) expect(map.start).toBe(next[0]);
          }
        }
        expect(contents(map)).toEqual(naive.runs);
        expect(map.size).toBe(naive.runs.length);
      }),
      { numRuns: 60 },
    );
  });

  test("holds a hundred thousand runs made downwards, and finds each", () => {
    const map = new IntervalMap();
    const count = 100_000;
    for (let i = count - 1; i >= 0; i--) map.insert(i * 3, 2, i);
    expect(map.size).toBe(count);
    for (let i = 0; i < count; i += 97) {
      expect(map.overlaps(i * 3 + 1, 1)).toBe(true);
      expect(map.value).toBe(i);
      expect(map.overlaps(i * 3 + 2, 1)).toBe(false);
    }
  });

  test("is empty after all has been removed from the front, and usable again", () => {
    const map = new IntervalMap();
    for (let i = 0; i < 5000; i++) map.insert(i, 1, i);
    let more = map.first();
    while (more) more = map.removeHere();
    expect(map.size).toBe(0);
    expect(map.first()).toBe(false);
    map.insert(7, 2, 1);
    expect(contents(map)).toEqual([[7, 2, 1]]);
  });

  test("reaches the last page of a 64-bit address space", () => {
    const map = new IntervalMap();
    const last = 2 ** 52 - 1;
    map.insert(last, 1, 9);
    expect(map.overlaps(last, 1)).toBe(true);
    expect(map.overlaps(last - 1, 1)).toBe(false);
    map.clear();
    expect(map.overlaps(last, 1)).toBe(false);
  });
});
