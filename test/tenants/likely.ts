import type { Random } from "../iommu/vtd/guest.ts";
import { DATA_END, FIRST_DATA, VIRTUAL_PAGES } from "./area.ts";
import type { Group } from "./reference.ts";
import type { AddressKind } from "./translate.ts";

const DATA_PAGES = DATA_END - FIRST_DATA;

/** Of `count` things, the first from a starting point on that is fit; the starting point when none is. */
function firstFit(count: number, from: number, fits: (index: number) => boolean): number {
  for (let step = 0; step < count; step++) {
    const index = (from + step) % count;
    if (fits(index)) return index;
  }
  return from % count;
}

/** A page to access: one that there is something behind, mostly. Data pages of windows and processes are counted from the first on. */
export function likelyIndex({ box }: Group, kind: AddressKind, random: Random): number {
  const from = random.below(VIRTUAL_PAGES);
  if (!box || random.chance(15)) return from;
  if (kind === "window") return firstFit(DATA_PAGES, from, (index) => box.maps.has(FIRST_DATA + index));
  return kind === "virtual" ? firstFit(VIRTUAL_PAGES, from, (index) => box.maps.has(box.leaves[index]!)) : from;
}
