import { decodeDescriptor } from "../intel-invalidation.ts";
import * as v510 from "../iommu-v510.ts";
import * as rfc from "../rfc-2017.ts";
import { type Behind, flags, ofStruct, type RequestRow, type StructRow, values } from "./request-row.ts";
import { getInfoRow } from "./type1-rows.ts";

const MODEL = values(rfc, "IOMMU_MODEL_");
const BIND_FLAGS = flags(rfc, "IOMMU_BIND_FLAG_");

const BIND_PASID_TABLE: StructRow = {
  layout: rfc.IommuPasidTableBind,
  names: { model: MODEL, flags: BIND_FLAGS },
};

const BIND_PASID: StructRow = { layout: rfc.IommuPasidBind, names: { flags: BIND_FLAGS } };

const BIND_PAGE_TABLE: StructRow = {
  layout: rfc.IommuPageTableBind,
  names: { model: MODEL, flags: BIND_FLAGS },
  behind: ({ model, length }) =>
    vendorData(model, length, {
      layout: rfc.IntelPageTableData,
      names: { flags: flags(v510, "IOMMU_SVA_VTD_GPASID_") },
    }),
};

const DESCRIPTOR: StructRow = {
  layout: rfc.IntelIommuInvalidateData,
  text: (descriptor) => {
    const decoded = decodeDescriptor(descriptor);
    if (typeof decoded === "string") return `? (${decoded})`;
    const fields = Object.entries(decoded.fields).map(([name, value]) => `${name} 0x${value.toString(16)}`);
    return [decoded.kind, ...fields].join(" ");
  },
};

const HINTS: StructRow = {
  layout: rfc.IntelIommuInvalidateHints,
  names: { hints: flags(rfc, "INTEL_INVALIDATE_"), caches: flags(v510, "IOMMU_CACHE_INV_TYPE_") },
};

const INVALIDATE_NAMES = {
  model: MODEL,
  scope: flags(rfc, "IOMMU_INVALIDATE_", /_(NO_PASID|VADDR_LEAF|VENDOR)$/),
  flags: flags(rfc, "IOMMU_INVALIDATE_", /E_(PASID|VADDR)$/),
};

const INVALIDATE: StructRow = {
  layout: rfc.IommuTlbInvalidate,
  names: INVALIDATE_NAMES,
  behind: ({ model, length, flags: set }) => {
    if (!(set & rfc.IOMMU_INVALIDATE_VENDOR)) return vendorData(model, length, HINTS);
    const count = Math.floor(length / DESCRIPTOR.layout.size);
    return model === rfc.IOMMU_MODEL_INTEL && count > 1
      ? { field: "data", kind: "list", struct: DESCRIPTOR, count }
      : vendorData(model, length, DESCRIPTOR);
  },
};

/** A vendor's data, where they are as long as what is known of them. */
function vendorData(model: number, length: number, intel: StructRow): Behind | undefined {
  if (length === 0) return undefined;
  return model === rfc.IOMMU_MODEL_INTEL && length >= intel.layout.size
    ? { field: "data", kind: "struct", struct: intel }
    : { field: "data", kind: "bytes", count: length };
}

const SUPPORT: StructRow = {
  layout: rfc.IntelIommuOpSupport,
  names: {
    page_table_flags: flags(v510, "IOMMU_SVA_VTD_GPASID_"),
    hints: flags(rfc, "INTEL_INVALIDATE_"),
    caches: flags(v510, "IOMMU_CACHE_INV_TYPE_"),
  },
};

const PROBED_MODEL: StructRow = {
  layout: rfc.VfioIommuOpModel,
  names: {
    model: MODEL,
    page_table_format: values(rfc, "IOMMU_PAGE_TABLE_"),
    pasid_table_format: values(rfc, "IOMMU_PASID_TABLE_"),
  },
  behind: ({ model, length }) => vendorData(model, length, SUPPORT),
};

/** Of what PROBE tells, the first model is shown; the devices are those whose groups the container has. */
const PROBE: StructRow = {
  layout: rfc.VfioIommuOpProbe,
  behind: ({ model_count, model_offset }) =>
    model_count > 0 && model_offset === rfc.VfioIommuOpProbe.size
      ? { field: "model", kind: "struct", struct: PROBED_MODEL }
      : undefined,
};

/** The data of operations, by the operation's number. */
const DATA: ReadonlyMap<number, StructRow> = new Map([
  [rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE, BIND_PASID_TABLE],
  [rfc.VFIO_IOMMU_OP_BIND_PASID, BIND_PASID],
  [rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, BIND_PAGE_TABLE],
  [rfc.VFIO_IOMMU_OP_INVALIDATE, INVALIDATE],
]);

/** What a container knows beyond one of type1 on a host that speaks the operation of 2017. */
export const RFC_2017_ROWS: readonly RequestRow[] = [
  getInfoRow([
    {
      id: rfc.VFIO_IOMMU_TYPE1_INFO_CAP_OP,
      name: "OP",
      struct: { layout: rfc.VfioIommuType1InfoCapOp, inner: () => ({ support: PROBE }) },
    },
  ]),
  ofStruct(
    { VFIO_IOMMU_OP: rfc.VFIO_IOMMU_OP },
    rfc.VfioIommuOperation,
    {
      names: { flags: flags(rfc, "VFIO_IOMMU_OP_FLAG_"), op: values(rfc, "VFIO_IOMMU_OP_", /_FLAG_/) },
      behind: ({ flags: set, op }) => {
        const struct = set & rfc.VFIO_IOMMU_OP_FLAG_PROBE ? PROBE : DATA.get(op);
        return struct && { field: "data", kind: "struct", struct };
      },
    },
    { proposal: "rfc-2017" },
  ),
];
