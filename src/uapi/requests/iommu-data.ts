import * as v59 from "../iommu-v59.ts";
import * as v510 from "../iommu-v510.ts";
import { type AnyLayout, flags, type StructRow, values } from "./request-row.ts";

/** The structures of <linux/iommu.h> that travel inside the proposals' requests, as a range of releases has them. */
export interface IommuDataRows {
  /** Added to the name of a dialect that has them; empty for the newest. */
  readonly suffix: string;
  readonly bind: StructRow;
  readonly cache: StructRow;
}

const VTD: StructRow = {
  layout: v510.IommuGpasidBindDataVtd,
  names: { flags: flags(v510, "IOMMU_SVA_VTD_GPASID_") },
};

const BIND_NAMES = {
  format: values(v510, "IOMMU_PASID_FORMAT_"),
  flags: flags(v510, "IOMMU_SVA_GPASID_"),
};

const CACHE_NAMES = {
  cache: flags(v510, "IOMMU_CACHE_INV_TYPE_"),
  granularity: values(v510, "IOMMU_INV_GRANU_"),
};

const PASID_INFO: StructRow = {
  layout: v510.IommuInvPasidInfo,
  names: { flags: flags(v510, "IOMMU_INV_PASID_FLAGS_") },
};
const ADDR_INFO: StructRow = {
  layout: v510.IommuInvAddrInfo,
  names: { flags: flags(v510, "IOMMU_INV_ADDR_FLAGS_") },
};

/** Which members of the union of an invalidation do not count: that of the other granularity; both, by domain. */
function hiddenMembers(granularity: number): readonly string[] {
  return [
    ...(granularity === v510.IOMMU_INV_GRANU_PASID ? [] : ["pasid_info"]),
    ...(granularity === v510.IOMMU_INV_GRANU_ADDR ? [] : ["addr_info"]),
  ];
}

/** A union as a structure of its own, of which `hidden` is not shown. */
function member(layout: AnyLayout, inner: Readonly<Record<string, StructRow>>, hidden: readonly string[]): StructRow {
  return { layout, inner: () => inner, hidden: () => hidden };
}

const isVtd = (format: number) => format === v510.IOMMU_PASID_FORMAT_INTEL_VTD;
const INVALIDATION = { pasid_info: PASID_INFO, addr_info: ADDR_INFO };

/** Since 5.10: with `argsz`. */
export const IOMMU_DATA_V510: IommuDataRows = {
  suffix: "",
  bind: {
    layout: v510.IommuGpasidBindData,
    names: BIND_NAMES,
    inner: ({ format }) => ({
      vendor: member(v510.IommuGpasidBindData.fields.vendor as AnyLayout, { vtd: VTD }, isVtd(format) ? [] : ["vtd"]),
    }),
    hidden: ({ format }) => (isVtd(format) ? [] : ["vendor"]),
  },
  cache: {
    layout: v510.IommuCacheInvalidateInfo,
    names: CACHE_NAMES,
    inner: ({ granularity }) => ({
      granu: member(v510.IommuCacheInvalidateInfo.fields.granu as AnyLayout, INVALIDATION, hiddenMembers(granularity)),
    }),
    hidden: ({ granularity }) => (hiddenMembers(granularity).length === 2 ? ["granu"] : []),
  },
};

/** Of 5.8 and 5.9. */
export const IOMMU_DATA_V59: IommuDataRows = {
  suffix: "-5.9",
  bind: {
    layout: v59.IommuGpasidBindDataV59,
    names: BIND_NAMES,
    inner: () => ({ vtd: VTD }),
    hidden: ({ format }) => (isVtd(format) ? [] : ["vtd"]),
  },
  cache: {
    layout: v59.IommuCacheInvalidateInfoV59,
    names: CACHE_NAMES,
    inner: () => INVALIDATION,
    hidden: ({ granularity }) => hiddenMembers(granularity),
  },
};
