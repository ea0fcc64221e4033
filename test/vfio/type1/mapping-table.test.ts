import fc from "fast-check";
import { expect, test } from "vitest";
import { ModelMemory } from "../../../src/kernel/model-memory.ts";
import { MAP_READ, MappingTable } from "../../../src/vfio/type1/mapping-table.ts";

/** Pages that mappings are made in, near each other and far away, so that hints are shared. */
const BASES = [0, 512, 2 ** 31, 2 ** 45];

const page = fc.tuple(fc.constantFrom(...BASES), fc.nat(3)).map(([base, more]) => base + more);
const step = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({ kind: fc.constant("add" as const), page, pages: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 20, arbitrary: fc.record({ kind: fc.constant("remove" as const), page }) },
  { weight: 80, arbitrary: fc.record({ kind: fc.constant("find" as const), page }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const) }) },
);

test("a page is found in the mapping that is there now, whatever was found before", () => {
  const space = new ModelMemory();
  fc.assert(
    fc.property(fc.array(step, { minLength: 100, maxLength: 200, size: "max" }), (steps) => {
      const table = new MappingTable();
      let runs: { start: number; pages: number; vaddr: number }[] = [];
      const at = (where: number) => runs.find(({ start, pages }) => where >= start && where < start + pages);
      let vaddr = 1;
      for (const each of steps) {
        if (each.kind === "add") {
          if (table.byIova.overlaps(each.page, each.pages)) continue;
          table.add(each.page, each.pages, ++vaddr, MAP_READ, space);
          runs.push({ start: each.page, pages: each.pages, vaddr });
        } else if (each.kind === "remove") {
          const run = at(each.page);
          expect(table.byIova.overlaps(each.page, 1)).toBe(run !== undefined);
          if (!run) continue;
          table.removeHere();
          runs = runs.filter((other) => other !== run);
        } else if (each.kind === "clear") {
          table.clear();
          runs = [];
        } else {
          const slot = table.slotAt(each.page);
          const found =
            slot < 0
              ? undefined
              : { start: table.startOf(slot), pages: table.pagesOf(slot), vaddr: table.vaddrPageOf(slot) };
          expect(found).toEqual(at(each.page));
        }
      }
    }),
    { numRuns: 300 },
  );
});
