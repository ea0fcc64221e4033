import type { IommuUnit } from "./unit.ts";

/**
 * Whether a group behind `unit` can use a domain that was made for `made`: the same driver and coherency, and no wider
 * tables nor other page sizes than the unit has (its driver refuses those, e.g.
 * intel/iommu.c:paging_domain_compatible).
 */
export function canShareDomain(made: IommuUnit, unit: IommuUnit): boolean {
  return (
    made.driver === unit.driver &&
    made.instance === unit.instance &&
    made.cacheCoherent === unit.cacheCoherent &&
    made.apertureStart >= unit.apertureStart &&
    made.apertureLast <= unit.apertureLast &&
    (made.pageSizes & ~unit.pageSizes) === 0n
  );
}
