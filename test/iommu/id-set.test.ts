import { describe, expect, test } from "vitest";
import { IdSet } from "../../src/iommu/id-set.ts";
import { Random } from "./vtd/guest.ts";

describe("the lowest free number of a range", () => {
  test.each([1, 31, 32, 33, 1000, 1024, 1025, 40_000])("is found among %i numbers as in a plain set", (limit) => {
    const random = new Random(limit);
    const ids = new IdSet(limit);
    const plain = new Set<number>();
    for (let step = 0; step < 20_000; step++) {
      // in phases, so that it is often full and often empty
      if (random.chance(step % 4000 < 2000 ? 80 : 20)) {
        const min = random.chance(50) ? 0 : random.below(limit);
        const max = random.chance(50) ? 2 ** 32 : random.below(limit);
        let expected: number | undefined;
        for (let id = min; id <= Math.min(max, limit - 1) && expected === undefined; id++) {
          if (!plain.has(id)) expected = id;
        }
        const taken = ids.take(min, max);
        if (taken !== expected)
          throw new Error(`limit ${limit}, step ${step}: ${taken} of ${min}-${max}, not ${expected}`);
        if (expected !== undefined) plain.add(expected);
      } else {
        const id = random.below(limit);
        ids.release(id);
        plain.delete(id);
      }
      if (ids.size !== plain.size) throw new Error(`limit ${limit}, step ${step}: ${ids.size} taken`);
    }
    const has = Array.from({ length: limit }, (_, id) => ids.has(id));
    expect(has).toEqual(Array.from({ length: limit }, (_, id) => plain.has(id)));
  });

  test("costs the same when a million are taken", () => {
    const ids = new IdSet(2 ** 20);
    let inOrder = 0;
    while (ids.take(0, 2 ** 20) === inOrder) inOrder++;
    expect(inOrder).toBe(2 ** 20);
    expect(ids.take(0, 2 ** 20)).toBeUndefined();
    ids.release(777_777);
    expect(ids.take(5, 2 ** 20)).toBe(777_777);
  });
});
