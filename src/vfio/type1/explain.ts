import { pageRunBytes } from "../../address/pages.ts";
import { binds, groupLabel } from "../../iommu/group.ts";
import { hex, hexRange } from "../../kernel/errors.ts";
import type { Type1Iommu } from "./iommu.ts";

/** Why a run of pages is not inside the valid IOVA ranges: the region in the way and whose it is, or the aperture. */
export function explainOutside(iommu: Type1Iommu, iovaPage: number, pages: number): string {
  const { start, last } = pageRunBytes(iovaPage, pages);
  const run = `iova ${hexRange(start, last)}`;
  for (const domain of iommu.domains) {
    for (const { group } of domain.groups) {
      for (const region of group.iommuGroup.reservedRegions) {
        if (!binds(region) || last < region.start || start > region.last) continue;
        return `${run} overlaps the reserved range ${hexRange(region.start, region.last)} (${region.type}) of ${groupLabel(group.iommuGroup)}`;
      }
    }
  }
  for (const { unit } of iommu.domains) {
    if (last > unit.apertureLast || start < unit.apertureStart) {
      return `${run} lies outside what the IOMMU can translate, ${hexRange(unit.apertureStart, unit.apertureLast)} (${unit.label})`;
    }
  }
  const { ranges } = iommu.validRanges;
  return `${run} is in none of the valid IOVA ranges ${ranges.map((range) => hexRange(range.start, range.last)).join(", ")}`;
}

/** The smallest IOMMU page, for a message. */
export function pageText(iommu: Type1Iommu): string {
  return `the smallest IOMMU page, ${hex(iommu.pageBytes)}`;
}
