import fc from "fast-check";
import { expect, test } from "vitest";
import { LowestIds } from "../../src/iommufd/lowest-ids.ts";

test("the lowest free number is given, whatever came back in whatever order", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { nil: undefined }), { maxLength: 200 }), (calls) => {
      const ids = new LowestIds();
      const held = new Set<number>();
      for (const back of calls) {
        if (back === undefined || held.size === 0) {
          let lowest = 1;
          while (held.has(lowest)) lowest++;
          expect([ids.lowest, ids.take()]).toEqual([lowest, lowest]);
          held.add(lowest);
        } else {
          const id = [...held][back % held.size]!;
          held.delete(id);
          ids.give(id);
        }
      }
    }),
    { numRuns: 300 },
  );
});
