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
          } else {
            const there = [...expected.keys()].filter((at) => at >= one.index && at < one.end);
            expect(table.next(one.index, one.end)).toBe(there.length === 0 ? -1 : Math.min(...there));
          }
          expect(table.mapped).toBe(expected.size);
          expect(table.find(one.index)).toBe(expected.has(one.index));
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
});
