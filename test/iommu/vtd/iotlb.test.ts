import { expect, test } from "vitest";
import { EvictingMap, VictimChooser } from "../../../src/iommu/evicting-map.ts";
import { type PageRange, type Translation, TranslationCache } from "../../../src/iommu/vtd/iotlb.ts";
import type { SecondLevel } from "../../../src/iommu/vtd/second-level.ts";
import { Random } from "./guest.ts";

const TARGET: SecondLevel = {
  translate: (page) => ({ page, shift: 12, read: true, write: true }),
  read: () => true,
  write: () => true,
};

function translation(domain: number, pasid: number, page: number, shift: number): Translation {
  const may = { hostRead: true, hostWrite: true, write: true, user: true, noExecute: false, dirty: true };
  return { tag: { domain, pasid }, page, shift, host: page, ...may, isNested: true, target: TARGET };
}

/** Pages of 4 KiB in one of 2^shift bytes. */
function pagesOf(shift: number): number {
  return 2 ** (shift - 12);
}

/** The cache as a list: what it has is what has been remembered and not been overlapped by anything since. */
class ListOfTranslations {
  entries: Translation[] = [];

  remember(found: Translation): void {
    this.invalidate(found.tag.domain, found.tag.pasid, { start: found.page, pages: pagesOf(found.shift) });
    this.entries.push(found);
  }

  invalidate(domain: number | undefined, pasid: number | undefined, range?: PageRange): void {
    this.entries = this.entries.filter(({ tag, page, shift }) => {
      if (domain !== undefined && tag.domain !== domain) return true;
      if (pasid !== undefined && tag.pasid !== pasid) return true;
      if (!range) return false;
      return page + pagesOf(shift) <= range.start || range.start + range.pages <= page;
    });
  }

  find(domain: number, pasid: number, address: number): Translation | undefined {
    return this.entries.find(({ tag, page, shift }) => {
      return tag.domain === domain && tag.pasid === pasid && page === address - (address % pagesOf(shift));
    });
  }
}

test.each([1, 2, 3])(
  "an IOTLB with pages of all sizes forgets what an invalidation touches, and nothing else (seed %i)",
  (seed) => {
    const random = new Random(seed);
    const cache = new TranslationCache(1_000_000, new VictimChooser(seed));
    const list = new ListOfTranslations();
    // around the ends of large pages
    const somewhere = () => random.below(3) * 2 ** 18 + random.below(3) * 2 ** 9 + random.below(4);
    for (let step = 0; step < 3000; step++) {
      const domain = random.below(2);
      const pasid = random.below(2);
      if (random.chance(60)) {
        const shift = random.pick([12, 12, 21, 30]);
        const page = somewhere();
        const found = translation(domain, pasid, page - (page % pagesOf(shift)), shift);
        cache.remember(found);
        list.remember(found);
      } else {
        // small ones and large ones
        const pages = 2 ** random.pick([0, 0, 1, 3, 6, 7, 12]);
        const page = somewhere();
        const range = random.chance(90) ? { start: page - (page % pages), pages } : undefined;
        const which = random.chance(90) ? pasid : undefined;
        cache.invalidate(domain, which, range);
        list.invalidate(domain, which, range);
      }
      expect(cache.size, `step ${step}`).toBe(list.entries.length);
      const page = somewhere();
      expect(cache.find({ domain, pasid }, page), `step ${step}`).toBe(list.find(domain, pasid, page));
    }
  },
);

/** Keys that have their low bits in common, in both numbers. */
function keyOf(each: number): [space: number, place: number] {
  return [(each % 4) * 2 ** 33 + (each % 2), Math.floor(each / 4) * 2 ** 44 + 5];
}

test("a cache that evicts and removes in any order has each entry once", () => {
  const random = new Random(4);
  const map = new EvictingMap<number>(8, new VictimChooser(4));
  for (let step = 0; step < 5000; step++) {
    const key = random.below(20);
    if (random.chance(60)) map.set(...keyOf(key), key);
    else if (random.chance(70)) map.remove(...keyOf(key));
    else map.invalidate((value) => value % 5 === key % 5);
    const kept = [...map.values()];
    expect(map.size).toBe(kept.length);
    expect(map.size).toBeLessThanOrEqual(8);
    expect(new Set(kept).size, `step ${step}`).toBe(kept.length);
    for (let each = 0; each < 20; each++)
      expect(map.peek(...keyOf(each)), `step ${step}`).toBe(kept.includes(each) ? each : undefined);
  }
});
