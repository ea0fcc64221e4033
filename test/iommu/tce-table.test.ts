import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TCE_READ, TCE_WRITE, TceTable } from "../../src/iommu/tce/tce-table.ts";

/** Indices that share leaves, share directories, and lie far apart. */
const ENTRIES = 2 ** 40;
const index = fc.oneof(
  fc.integer({ min: 0, max: 1100 }),
  fc.integer({ min: 0, max: 3 }).map((n) => n * 2 ** 18 + 511),
  fc.integer({ min: 0, max: 40 }).map((n) => ENTRIES - 1 - n * 13),
);
const step = fc.oneof(
  fc.record({ kind: fc.constant("put" as const), index, page: fc.integer({ min: 0, max: 2 ** 31 }) }),
  fc.record({ kind: fc.constant("take" as const), index }),
  fc.record({ kind: fc.constant("next" as const), index, end: index }),
  fc.record({ kind: fc.constant("putRun" as const), index, count: fc.integer({ min: 1, max: 1500 }) }),
  fc.record({ kind: fc.constant("takeRun" as const), index, count: fc.integer({ min: 1, max: 1500 }) }),
);

describe("a TCE table", () => {
  test("does what a map of entries does", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new TceTable(ENTRIES);
        const expected = new Map<number, { page: number; owner: number }>();
        for (const [owner, one] of steps.entries()) {
          const known = expected.get(one.index);
          if (one.kind === "put") {
            expect(table.put(one.index, one.page, TCE_READ | TCE_WRITE, owner)).toBe(known !== undefined);
            if (known) expect({ page: table.page, owner: table.owner }).toEqual(known);
            expected.set(one.index, { page: one.page, owner });
          } else if (one.kind === "take") {
            expect(table.take(one.index)).toBe(known !== undefined);
            if (known) expect({ page: table.page, owner: table.owner }).toEqual(known);
            expected.delete(one.index);
          } else if (one.kind === "putRun") {
            const count = table.putRun(one.index, Math.min(one.count, ENTRIES - one.index), 1000, 3, TCE_READ, owner);
            // at least one where there is room, and nothing that is taken
            expect(count > 0).toBe(known === undefined);
            for (let i = 0; i < count; i++) {
              expect(expected.has(one.index + i)).toBe(false);
              expected.set(one.index + i, { page: 1000 + 3 * i, owner });
            }
          } else if (one.kind === "takeRun") {
            const end = one.index + one.count;
            const there = [...expected.keys()].filter((at) => at >= one.index && at < end);
            const count = table.takeRun(one.index, end);
            expect(count > 0).toBe(there.length > 0);
            if (count === 0) continue;
            const first = Math.min(...there);
            expect(expected.get(first)).toEqual({ page: table.page, owner: table.owner });
            expect(table.position).toBe(first + count);
            for (let at = first; at < first + count; at++) {
              expect(expected.get(at)?.owner).toBe(table.owner);
              expected.delete(at);
            }
          } else {
            const there = [...expected.keys()].filter((at) => at >= one.index && at < one.end);
            expect(table.next(one.index, one.end)).toBe(there.length === 0 ? -1 : Math.min(...there));
          }
          expect(table.mapped).toBe(expected.size);
          const now = expected.get(one.index);
          expect(table.find(one.index)).toBe(now !== undefined);
          if (now) expect({ page: table.page, owner: table.owner }).toEqual(now);
        }
        for (const at of expected.keys()) table.take(at);
        expect(table.parts).toBe(1);
      }),
      { numRuns: 200 },
    );
  });

  test("keeps addresses and permissions exactly", () => {
    const table = new TceTable(8192);
    table.put(8191, 2 ** 40 - 1, TCE_WRITE, 2 ** 32 + 1);
    expect(table.find(8191)).toBe(true);
    expect([table.page, table.permission, table.owner]).toEqual([2 ** 40 - 1, TCE_WRITE, 2 ** 32 + 1]);
  });

  test("of 2^40 entries costs what is mapped in it, and is searched in as many steps", () => {
    const table = new TceTable(ENTRIES);
    const before = table.parts;
    for (let i = 0; i < 100; i++) table.put(i * 2 ** 33, i, TCE_READ, i);
    expect(table.parts - before).toBeLessThanOrEqual(100 * 5);
    const started = performance.now();
    let found = 0;
    for (let at = table.next(0, ENTRIES); at >= 0; at = table.next(at + 1, ENTRIES)) {
      found++;
      table.take(at);
    }
    expect(found).toBe(100);
    expect(table.parts).toBe(before);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("holds a long run in few numbers, and lets it go in as few steps", () => {
    const table = new TceTable(2 ** 20);
    const before = process.memoryUsage().arrayBuffers;
    let done = 0;
    while (done < 2 ** 20) done += table.putRun(done, 2 ** 20 - done, 16 * done, 16, TCE_READ | TCE_WRITE, 5);
    expect([table.mapped, process.memoryUsage().arrayBuffers - before]).toEqual([2 ** 20, 0]);
    expect(table.find(777_777) && table.page).toBe(16 * 777_777);
    let steps = 0;
    for (let at = 0; table.takeRun(at, 2 ** 20) > 0; at = table.position) steps++;
    expect([table.mapped, table.parts, steps]).toEqual([0, 1, 2 ** 11]);
  });

  test("is emptied in steps that are as many as the runs in it", () => {
    const table = new TceTable(ENTRIES);
    for (let i = 0; i < 50; i++) table.putRun(i * 2 ** 34 + 100, 16, 16 * i, 16, TCE_READ, 1);
    let steps = 0;
    for (let at = 0; table.takeRun(at, ENTRIES) > 0; at = table.position) steps++;
    expect([steps, table.mapped, table.parts]).toEqual([50, 0, 1]);
  });
});
