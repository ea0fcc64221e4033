import fc from "fast-check";
import { expect, test } from "vitest";
import { PageCounts } from "../../src/iommufd/memory/page-counts.ts";

const range = fc
  .record({ start: fc.bigInt({ min: 0n, max: 60n }), length: fc.bigInt({ min: 1n, max: 25n }) })
  .map(({ start, length }) => ({ start, last: start + length - 1n }));

test("pages are counted as by one number for each", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ range, add: fc.boolean(), which: fc.nat() }), { maxLength: 60 }),
      range,
      (calls, asked) => {
        const counts = new PageCounts();
        const holders: (typeof asked)[] = [];
        for (const { range: next, add, which } of calls) {
          if (add || holders.length === 0) {
            counts.add(next);
            holders.push(next);
          } else {
            counts.subtract(holders.splice(which % holders.length, 1)[0]!);
          }
        }
        let missing = 0;
        for (let page = asked.start; page <= asked.last; page++) {
          if (!holders.some(({ start, last }) => page >= start && page <= last)) missing++;
        }
        expect(counts.missing(asked)).toBe(missing);
        expect(counts.has(asked)).toBe(missing < Number(asked.last - asked.start) + 1);
        for (const holder of holders.splice(0)) counts.subtract(holder);
        expect(counts.has({ start: 0n, last: 1000n })).toBe(false);
      },
    ),
    { numRuns: 500 },
  );
});
