import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IntervalMap } from "../../src/address/interval-map.ts";
import { contents, here, SortedRuns } from "./sorted-runs.ts";

/** Where the pages of a test are: numbers that fit into 32 bits, and numbers that do not. */
const base = fc.constantFrom(0, 0x7_0000_0000, 2 ** 52 - 2 ** 20);

const operation = fc.record({
  kind: fc.constantFrom("insert", "insert", "remove", "look", "seek"),
  start: fc.nat(4000),
  pages: fc.integer({ min: 1, max: 6 }),
});

/** Calls that change many runs in a row: they fill, split, join and empty nodes of every level. */
const sweep = fc.record({
  kind: fc.constantFrom("fill", "fill", "take", "thin", "move", "unite"),
  order: fc.constantFrom("rising", "falling", "scattered"),
  start: fc.nat(60_000),
  count: fc.nat(9000),
  step: fc.integer({ min: 1, max: 5 }),
});

/** The numbers below `count` in an order. */
function* inOrder(order: string, count: number): Generator<number> {
  // 7919 is prime and larger than any count that it does not divide: every number comes once
  const odd = count % 7919 === 0 ? 1 : 7919;
  for (let i = 0; i < count; i++)
    yield order === "rising" ? i : order === "falling" ? count - 1 - i : (i * odd) % count;
}

describe("an interval map", () => {
  test("behaves as a sorted array does, over random operations", () => {
    fc.assert(
      fc.property(base, fc.array(operation, { maxLength: 2000, size: "max" }), (low, operations) => {
        const map = new IntervalMap();
        const model = new SortedRuns();
        for (const [index, { kind, start, pages }] of operations.entries()) {
          const page = low + start;
          const found = model.overlapping(page, pages);
          if (kind === "seek") {
            const at = model.from(page);
            expect(map.seek(page)).toBe(at < model.runs.length);
            if (at < model.runs.length) expect(here(map)).toEqual(model.runs[at]);
            if (at < model.runs.length) expect(map.next()).toBe(at + 1 < model.runs.length);
            if (at + 1 < model.runs.length) expect(here(map)).toEqual(model.runs[at + 1]);
            const before = model.runs.findLast(([first]) => first <= page);
            expect(map.seekBefore(page)).toBe(before !== undefined);
            if (before) expect(here(map)).toEqual(before);
            continue;
          }
          expect(map.overlaps(page, pages)).toBe(found !== undefined);
          if (found) expect(here(map)).toEqual(found);
          if (kind === "insert" && !found) {
            map.insert(page, pages, index);
            model.insert(page, pages, index);
            expect(here(map)).toEqual([page, pages, index]);
          }
          if (kind === "remove" && found) {
            const at = model.from(page);
            model.remove(at);
            expect(map.removeHere()).toBe(at < model.runs.length);
            if (at < model.runs.length) expect(here(map)).toEqual(model.runs[at]);
          }
        }
        expect(contents(map)).toEqual(model.runs);
        expect(map.size).toBe(model.runs.length);
      }),
      { numRuns: 60 },
    );
  });

  test("has nothing before its first run, also when there was something", () => {
    const map = new IntervalMap();
    for (const start of [10, 20, 30]) map.insert(start, 5, start);
    for (const first of [20, 30]) {
      expect([map.seek(0), map.removeHere()]).toEqual([true, true]);
      expect([map.seekBefore(first - 1), map.seekBefore(first), map.start]).toEqual([false, true, first]);
    }
  });

  test("behaves as a sorted array does while tens of thousands of runs come and go", () => {
    fc.assert(
      fc.property(base, fc.array(sweep, { minLength: 1, maxLength: 14, size: "max" }), (low, sweeps) => {
        const map = new IntervalMap();
        const model = new SortedRuns();
        let made = 0;
        for (const { kind, order, start, count, step } of sweeps) {
          for (const i of inOrder(order, count)) {
            const page = low + start + i * step;
            const at = model.from(page);
            const met = model.runs[at];
            if (kind === "fill") {
              const free = met === undefined || met[0] >= page + step;
              // half of the runs are inserted without having been looked for
              if ((i & 1) === 0 && map.overlaps(page, step) === free) throw new Error(`page ${page} is free: ${free}`);
              if (!free) continue;
              map.insert(page, step, made);
              model.insert(page, step, made++);
              continue;
            }
            if (map.seek(page) !== (met !== undefined)) throw new Error(`seek(${page})`);
            if (met === undefined) continue;
            if (map.start !== met[0] || map.value !== met[2]) throw new Error(`seek(${page}) is at ${map.start}`);
            if (kind === "unite") {
              // a run in the place of two reaches to where the next leaf began
              const behind = model.runs[at + 1];
              if (behind === undefined) continue;
              map.removeHere();
              map.removeHere();
              model.runs.splice(at, 2, [met[0], behind[0] + behind[1] - met[0], made]);
              map.insert(met[0], behind[0] + behind[1] - met[0], made++);
              map.seek(met[0] - 1);
              if (!map.seek(behind[0]) || map.start !== met[0])
                throw new Error(`the run at ${met[0]} does not reach ${behind[0]}`);
              continue;
            }
            if (kind === "thin" && (i & 15) === 0) continue;
            model.remove(at);
            const next = model.runs[at];
            if (map.removeHere() !== (next !== undefined)) throw new Error(`removeHere() at ${met[0]}`);
            if (next && map.start !== next[0]) throw new Error(`behind ${met[0]} comes ${map.start}`);
            if (kind !== "move") continue;
            const end = model.runs.at(-1);
            const behind = end ? end[0] + end[1] : low;
            map.insert(behind, 1, met[2]);
            model.insert(behind, 1, met[2]);
          }
          expect(map.size).toBe(model.runs.length);
          expect(contents(map)).toEqual(model.runs);
        }
      }),
      { numRuns: 25 },
    );
  }, 60_000);

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

  test("finds one run that has taken the place of a whole leaf, wherever the leaf was", () => {
    // runs made at rising pages fill their leaves: 48 runs each, 64 leaves in a node; beside the last of a node lies the first of the next
    const leaf = 48;
    const leaves = 140;
    for (let gone = 1; gone < leaves; gone++) {
      const map = new IntervalMap();
      for (let i = 0; i < leaves * leaf; i++) map.insert(4 * i, 2, i);
      const start = 4 * gone * leaf;
      // the first run at last: what is known of a leaf is where that one begins
      for (let i = leaf - 1; i >= 0; i--) {
        map.seek(start + 4 * i);
        map.removeHere();
      }
      // it begins behind the last run of the leaf before, so that it lies in that one or in a new one
      map.insert(start - 2, 4 * leaf, 7);
      for (let page = start - 2; page < start + 4 * leaf - 2; page++) {
        map.first();
        if (!map.seek(page) || map.value !== 7) throw new Error(`leaf ${gone}: page ${page} is in ${here(map)}`);
      }
    }
  });

  test("takes runs at the front of a leaf out and puts others there", () => {
    const step = fc.integer({ min: -40, max: 40 });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(200), (steps, low) => {
        const map = new IntervalMap();
        const model = new SortedRuns();
        const put = (page: number) => {
          if (model.overlapping(page, 1)) return;
          map.insert(page, 1, page);
          model.insert(page, 1, page);
        };
        for (let i = 0; i < 200; i++) put(1000 + 2 * i);
        // that of a leaf's first run, if the leaf begins here
        const front = 1000 + 2 * low;
        for (const step of steps) {
          for (let i = 0; i < step && map.seek(front); i++) {
            map.removeHere();
            model.remove(model.from(front));
          }
          for (let i = 0; i > step && map.seek(front); i--) put(Math.max(front, map.start - 1));
          // one more behind it, which may find the leaf full
          put(front + 21 + 2 * (step & 15));
          expect(contents(map)).toEqual(model.runs);
          for (const [page] of model.runs) if (!map.seek(page) || map.start !== page) throw new Error(`page ${page}`);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("has its lowest and its highest run replaced again and again", () => {
    const map = new IntervalMap();
    for (let i = 0; i < 3000; i++) map.insert(5 * i, 3, i);
    for (let i = 0; i < 20_000; i++) {
      const falling = Math.floor(i / 3000) % 2 === 1;
      expect(map.first()).toBe(true);
      const low = map.start;
      if (falling) {
        // the other way: the lowest gets one before it
        if (low < 5) continue;
        map.insert(low - 5, 3, 9);
        expect(map.seek(low - 2) && map.start).toBe(low);
        continue;
      }
      map.removeHere();
      expect(map.start).toBe(low + 5);
      expect(map.seek(low) && map.start).toBe(low + 5);
      expect(map.seek(low + 7) && map.start).toBe(low + 5);
      const end = 5 * (3000 + i);
      expect(map.overlaps(end, 3)).toBe(false);
      map.insert(end, 3, i);
      expect(here(map)).toEqual([end, 3, i]);
      expect(map.next()).toBe(false);
    }
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

  test("keeps every bit of values and lengths while runs move along in their leaves", () => {
    // around those that would make an infinite double, or none at all, of a value and a length
    const values = [0, 1, 0x7ff0_0000, 0x7ff0_0001, 0x8000_0000, 0xfff0_0001, 0xffff_ffff];
    const lengths = [
      1,
      0x7fef_ffff,
      0x7ff0_0000,
      0x7ff0_0001,
      0x7ff8_0000,
      0x8000_0000,
      0xfff0_0001,
      2 ** 32 - 1,
      2 ** 32,
    ];
    const room = 2 ** 33;
    const map = new IntervalMap();
    const model = new SortedRuns();
    for (let i = 0; i < 20_000; i++) {
      const start = room * ((i * 7919) % 400);
      if (map.overlaps(start, 1)) {
        map.removeHere();
        model.remove(model.from(start));
      } else {
        const pages = lengths[i % lengths.length]!;
        const value = values[i % values.length]!;
        map.insert(start, pages, value);
        model.insert(start, pages, value);
      }
      if (i % 100 === 0) expect(contents(map)).toEqual(model.runs);
    }
  });

  test("keeps the largest value and the longest run", () => {
    const map = new IntervalMap();
    map.insert(0, 2 ** 52, 2 ** 32 - 1);
    expect(map.overlaps(2 ** 52 - 1, 1)).toBe(true);
    expect(here(map)).toEqual([0, 2 ** 52, 2 ** 32 - 1]);
  });

  test("is asked again and again behind its last run", () => {
    const map = new IntervalMap();
    for (let i = 0; i < 40; i++) map.insert(i, 1, i);
    expect(map.seek(39)).toBe(true);
    for (let i = 0; i < 200; i++) {
      expect(map.next()).toBe(false);
      expect(map.seek(40)).toBe(false);
    }
    expect(map.seek(3)).toBe(true);
    expect(map.value).toBe(3);
  });
});
