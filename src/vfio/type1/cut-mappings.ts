import type { Type1Iommu } from "./iommu.ts";
import { MAP_LOCK_CAPABLE, MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/**
 * Makes mappings begin and end where an unmapped range does: kernels before 3.15 took any range out of them
 * (vfio_iommu_type1.c: vfio_remove_dma_overlap). Pages are small here, so that nothing more than the range goes.
 * @param first first page of the range
 * @param last last page
 */
export function cutAt(iommu: Type1Iommu, first: number, last: number): void {
  cutBefore(iommu, first);
  cutBefore(iommu, last + 1);
}

/** Divides the mapping that `page` lies in, when it begins before. */
function cutBefore(iommu: Type1Iommu, page: number): void {
  const { mappings } = iommu;
  const { byIova } = mappings;
  if (!byIova.overlaps(page, 1) || byIova.start === page) return;
  const { start, pages, value: slot } = byIova;
  const space = mappings.spaceOf(slot);
  const flags = mappings.flagsOf(slot);
  const vaddrPage = mappings.vaddrPageOf(slot);
  // held once more meanwhile, so that the parts find their pages whatever happens
  const hold = space.pinFrom(vaddrPage, pages, (flags & MAP_WRITE) !== 0, Number.POSITIVE_INFINITY);
  if (hold < 0) {
    iommu.context.warn(
      `${iommu.describeHere()} is not divided by VFIO_IOMMU_UNMAP_DMA as a kernel before 3.15 would: its memory is no longer mapped in the program`,
    );
    return;
  }
  iommu.removeMappingHere();
  const kept = flags & (MAP_READ | MAP_WRITE | MAP_LOCK_CAPABLE);
  for (const [at, end] of [
    [start, page],
    [page, start + pages],
  ] as const) {
    const part = mappings.add(at, end - at, vaddrPage + at - start, kept, space);
    iommu.pinMapping(part, end - at, Number.POSITIVE_INFINITY);
  }
  space.unpin(hold);
}
