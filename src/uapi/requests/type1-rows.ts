import * as vfio from "../vfio.ts";
import * as type1 from "../vfio-type1.ts";
import { type Behind, type CapabilityRow, flags, ofStruct, ofValue, plain, type RequestRow } from "./request-row.ts";

const IOMMU_TYPES = new Map([
  [vfio.VFIO_TYPE1_IOMMU, "VFIO_TYPE1_IOMMU"],
  [vfio.VFIO_SPAPR_TCE_IOMMU, "VFIO_SPAPR_TCE_IOMMU"],
  [vfio.VFIO_TYPE1v2_IOMMU, "VFIO_TYPE1v2_IOMMU"],
  [vfio.VFIO_DMA_CC_IOMMU, "VFIO_DMA_CC_IOMMU"],
  [vfio.VFIO_EEH, "VFIO_EEH"],
  [vfio.VFIO_TYPE1_NESTING_IOMMU, "VFIO_TYPE1_NESTING_IOMMU"],
  [vfio.VFIO_SPAPR_TCE_v2_IOMMU, "VFIO_SPAPR_TCE_v2_IOMMU"],
  [vfio.VFIO_NOIOMMU_IOMMU, "VFIO_NOIOMMU_IOMMU"],
  [vfio.VFIO_UNMAP_ALL, "VFIO_UNMAP_ALL"],
  [vfio.VFIO_UPDATE_VADDR, "VFIO_UPDATE_VADDR"],
]);

/** What every container knows. */
export const CONTAINER_ROWS: readonly RequestRow[] = [
  plain({ VFIO_GET_API_VERSION: vfio.VFIO_GET_API_VERSION }),
  ofValue({ VFIO_CHECK_EXTENSION: vfio.VFIO_CHECK_EXTENSION }, IOMMU_TYPES),
  ofValue({ VFIO_SET_IOMMU: vfio.VFIO_SET_IOMMU }, IOMMU_TYPES),
];

const RANGE = { iova: "iova", length: "size" };

const hexText = (value: bigint) => `0x${value.toString(16)}`;

const INFO_CAPABILITIES: readonly CapabilityRow[] = [
  {
    id: type1.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
    name: "IOVA_RANGE",
    struct: {
      layout: type1.VfioIommuType1InfoCapIovaRange,
      hidden: () => ["nr_iovas"],
      behind: ({ nr_iovas: count }): Behind => ({
        field: "ranges",
        kind: "list",
        count,
        struct: {
          layout: type1.VfioIovaRange,
          text: ({ start, end }) => `${hexText(start)}-${hexText(end)}`,
        },
      }),
    },
  },
  {
    id: type1.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
    name: "MIGRATION",
    struct: { layout: type1.VfioIommuType1InfoCapMigration, hidden: () => ["flags"] },
  },
  {
    id: type1.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    name: "DMA_AVAIL",
    struct: { layout: type1.VfioIommuType1InfoDmaAvail },
  },
];

const BITMAP = { layout: type1.VfioBitmap, pointers: ["data"] };

/**
 * VFIO_IOMMU_GET_INFO with the capabilities that mainline has, and those of a proposal in the place of what has their
 * number.
 */
export function getInfoRow(proposed: readonly CapabilityRow[] = []): RequestRow {
  const known = [...proposed, ...INFO_CAPABILITIES];
  return ofStruct({ VFIO_IOMMU_GET_INFO: type1.VFIO_IOMMU_GET_INFO }, type1.VfioIommuType1Info, {
    names: { flags: flags(type1, "VFIO_IOMMU_INFO_") },
    behind: ({ cap_offset: first }) => ({ field: "caps", kind: "capabilities", first, known }),
  });
}

export const MAP_DMA_ROW = ofStruct(
  { VFIO_IOMMU_MAP_DMA: type1.VFIO_IOMMU_MAP_DMA },
  type1.VfioIommuType1DmaMap,
  { names: { flags: flags(type1, "VFIO_DMA_MAP_FLAG_") }, pointers: ["vaddr"] },
  { range: RANGE },
);

export const UNMAP_DMA_ROW = ofStruct(
  { VFIO_IOMMU_UNMAP_DMA: type1.VFIO_IOMMU_UNMAP_DMA },
  type1.VfioIommuType1DmaUnmap,
  {
    names: { flags: flags(type1, "VFIO_DMA_UNMAP_FLAG_") },
    behind: (value) =>
      value.flags & type1.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP
        ? { field: "bitmap", kind: "struct", struct: BITMAP }
        : undefined,
  },
  { range: RANGE },
);

/** What a container of type1 knows beyond CONTAINER_ROWS. */
export const TYPE1_ROWS: readonly RequestRow[] = [
  getInfoRow(),
  MAP_DMA_ROW,
  UNMAP_DMA_ROW,
  ofStruct({ VFIO_IOMMU_DIRTY_PAGES: type1.VFIO_IOMMU_DIRTY_PAGES }, type1.VfioIommuType1DirtyBitmap, {
    names: { flags: flags(type1, "VFIO_IOMMU_DIRTY_PAGES_FLAG_") },
    behind: (value) =>
      value.flags & type1.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP
        ? {
            field: "range",
            kind: "struct",
            struct: { layout: type1.VfioIommuType1DirtyBitmapGet, inner: () => ({ bitmap: BITMAP }) },
          }
        : undefined,
  }),
];
