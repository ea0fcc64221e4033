import * as v1 from "../vsva-v1.ts";
import * as v7 from "../vsva-v7.ts";
import { IOMMU_DATA_V59, type IommuDataRows } from "./iommu-data.ts";
import { type FieldNames, flags, ofStruct, pick, type RequestRow } from "./request-row.ts";
import { getInfoRow } from "./type1-rows.ts";

const V1 = { proposal: "vsva-v1" };
const V7 = { proposal: "vsva-v7" };

/** What a nesting container of vsva-v1 knows beyond one of type1. */
export function vsvaV1Rows(data: IommuDataRows): readonly RequestRow[] {
  return [
    ofStruct(
      { VFIO_IOMMU_PASID_REQUEST: v1.VFIO_IOMMU_PASID_REQUEST },
      v1.VfioIommuType1PasidRequestV1,
      {
        names: { flags: flags(v1, "VFIO_IOMMU_PASID_", /REQUEST$/) },
        hidden: (value) => (value.flags & v1.VFIO_IOMMU_PASID_FREE ? ["min", "max", "result"] : ["free_pasid"]),
      },
      V1,
    ),
    ofStruct(
      { VFIO_IOMMU_BIND: v1.VFIO_IOMMU_BIND },
      v1.VfioIommuType1Bind,
      {
        names: {
          flags: {
            kind: "flags",
            names: new Map([
              [v1.VFIO_IOMMU_BIND_GUEST_PGTBL, "BIND_GUEST_PGTBL"],
              [v1.VFIO_IOMMU_UNBIND_GUEST_PGTBL, "UNBIND_GUEST_PGTBL"],
            ]),
          },
        },
        behind: () => ({ field: "data", kind: "struct", struct: data.bind }),
      },
      V1,
    ),
    ofStruct(
      { VFIO_IOMMU_CACHE_INVALIDATE: v1.VFIO_IOMMU_CACHE_INVALIDATE },
      data === IOMMU_DATA_V59 ? v1.VfioIommuType1CacheInvalidateV59 : v1.VfioIommuType1CacheInvalidate,
      { inner: () => ({ cache_info: data.cache }) },
      V1,
    ),
  ];
}

const OPERATION: FieldNames = {
  kind: "flags",
  names: new Map(),
  low: { mask: v7.VFIO_NESTING_OP_MASK, names: pick(v7, "VFIO_IOMMU_NESTING_OP_"), otherwise: "operation" },
};

/**
 * What a nesting container of vsva-v7 knows beyond one of type1, or otherwise: the numbers are sPAPR's, and so is
 * capability 3 another's.
 */
export function vsvaV7Rows(data: IommuDataRows): readonly RequestRow[] {
  return [
    getInfoRow([
      {
        id: v7.VFIO_IOMMU_TYPE1_INFO_CAP_NESTING,
        name: "NESTING",
        struct: {
          layout: v7.VfioIommuType1InfoCapNesting,
          inner: () => ({
            info: { layout: v7.IommuNestingInfo, names: { features: flags(v7, "IOMMU_NESTING_FEAT_") } },
          }),
        },
      },
    ]),
    ofStruct(
      { VFIO_IOMMU_PASID_REQUEST: v7.VFIO_IOMMU_PASID_REQUEST },
      v7.VfioIommuType1PasidRequest,
      { names: { flags: flags(v7, "VFIO_IOMMU_FLAG_") } },
      V7,
    ),
    ofStruct(
      { VFIO_IOMMU_NESTING_OP: v7.VFIO_IOMMU_NESTING_OP },
      v7.VfioIommuType1NestingOp,
      {
        names: { flags: OPERATION },
        behind: (value) => {
          const operation = value.flags & v7.VFIO_NESTING_OP_MASK;
          if (operation > v7.VFIO_IOMMU_NESTING_OP_CACHE_INVLD) return undefined;
          const isCache = operation === v7.VFIO_IOMMU_NESTING_OP_CACHE_INVLD;
          return { field: "data", kind: "struct", struct: isCache ? data.cache : data.bind };
        },
      },
      V7,
    ),
  ];
}
