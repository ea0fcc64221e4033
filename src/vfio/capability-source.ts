import type { IovaRange } from "../address/iova-ranges.ts";
import type { CapabilityStructure } from "../uapi/capability-chain.ts";
import { StructView } from "../uapi/struct-view.ts";
import {
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VfioIommuType1InfoCapIovaRange,
  VfioIommuType1InfoDmaAvail,
  VfioIovaRange,
} from "../uapi/vfio-type1.ts";

/** One capability that VFIO_IOMMU_GET_INFO of a container tells. Undefined: it has nothing to tell now. */
export type CapabilitySource<Of> = (of: Of, littleEndian: boolean) => CapabilityStructure | undefined;

/** What the sources tell, in their order. A later one that has the number of an earlier one is told in its place. */
export function toldBy<Of>(
  sources: readonly CapabilitySource<Of>[],
  of: Of,
  littleEndian: boolean,
): CapabilityStructure[] {
  const told = sources.map((source) => source(of, littleEndian)).filter((each) => each !== undefined);
  return told.filter(({ id }, i) => !told.some((other, j) => j > i && other.id === id));
}

/** VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: so many mappings are left. */
export function availableMappings(avail: number, littleEndian: boolean): CapabilityStructure {
  const structure = VfioIommuType1InfoDmaAvail.encode({ avail }, 0, littleEndian);
  return { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, structure };
}

/** VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: what can be mapped, entry by entry. */
export function usableRanges(ranges: readonly IovaRange[], littleEndian: boolean): CapabilityStructure {
  const { size: first } = VfioIommuType1InfoCapIovaRange;
  const { size: entrySize } = VfioIovaRange;
  const structure = VfioIommuType1InfoCapIovaRange.encode(
    { nr_iovas: ranges.length },
    ranges.length * entrySize,
    littleEndian,
  );
  const view = new StructView(structure, littleEndian);
  ranges.forEach(({ start, last }, i) => {
    VfioIovaRange.write(view, first + i * entrySize, { start, end: last });
  });
  return { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, structure, entries: { first, size: entrySize } };
}
