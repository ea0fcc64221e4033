import { clip, cutOut, type IovaRange, IovaRangeList } from "../../address/iova-ranges.ts";
import { binds, type ReservedRegion } from "../../iommu/group.ts";

/** The ranges without the regions that bind (vfio_iommu_resv_exclude); undefined when nothing is left. */
export function excludeReserved(
  ranges: readonly IovaRange[],
  regions: readonly ReservedRegion[],
): IovaRangeList | undefined {
  let left = ranges;
  for (const region of regions) if (binds(region)) left = cutOut(left, region);
  return left.length === 0 ? undefined : new IovaRangeList(left);
}

/** The list after one more aperture (vfio_iommu_aper_resize): an empty list becomes the aperture. */
export function narrowTo(ranges: readonly IovaRange[], aperture: IovaRange): readonly IovaRange[] {
  return ranges.length === 0 ? [aperture] : clip(ranges, aperture);
}

/**
 * The list after a domain has gone (vfio_iommu_aper_expand): its outer ends move out to the narrowest of the remaining
 * apertures, to the whole address space when none remains.
 */
export function widenTo(ranges: readonly IovaRange[], apertures: readonly IovaRange[]): readonly IovaRange[] {
  if (ranges.length === 0) return ranges;
  let start = 0n;
  let last = 2n ** 64n - 1n;
  for (const aperture of apertures) {
    if (aperture.start > start) start = aperture.start;
    if (aperture.last < last) last = aperture.last;
  }
  const widened = [...ranges];
  widened[0] = { start, last: widened[0]!.last };
  widened[widened.length - 1] = { start: widened[widened.length - 1]!.start, last };
  return widened;
}

/**
 * The list after a group has gone (vfio_iommu_resv_refresh): everything between its outer ends, less the regions of the
 * groups that stay. The outer ends are those of the list, not of the aperture, as the kernel has it: a region that had
 * cut off an end is not given back while its domain stays. Undefined when the list must stay as it is.
 */
export function refresh(ranges: readonly IovaRange[], regions: readonly ReservedRegion[]): IovaRangeList | undefined {
  if (ranges.length === 0) return undefined;
  const span = { start: ranges[0]!.start, last: ranges[ranges.length - 1]!.last };
  return excludeReserved([span], regions);
}
