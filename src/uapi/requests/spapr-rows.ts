import * as spapr from "../vfio-spapr.ts";
import { flags, ofStruct, plain, type RequestRow, values } from "./request-row.ts";
import { MAP_DMA_ROW, UNMAP_DMA_ROW } from "./type1-rows.ts";

/** What a container of sPAPR TCE knows beyond what every container does. */
export const SPAPR_ROWS: readonly RequestRow[] = [
  ofStruct({ VFIO_IOMMU_SPAPR_TCE_GET_INFO: spapr.VFIO_IOMMU_SPAPR_TCE_GET_INFO }, spapr.VfioIommuSpaprTceInfo, {
    names: { flags: flags(spapr, "VFIO_IOMMU_SPAPR_INFO_") },
  }),
  MAP_DMA_ROW,
  UNMAP_DMA_ROW,
  plain({ VFIO_IOMMU_ENABLE: spapr.VFIO_IOMMU_ENABLE }),
  plain({ VFIO_IOMMU_DISABLE: spapr.VFIO_IOMMU_DISABLE }),
  ofStruct(
    { VFIO_IOMMU_SPAPR_REGISTER_MEMORY: spapr.VFIO_IOMMU_SPAPR_REGISTER_MEMORY },
    spapr.VfioIommuSpaprRegisterMemory,
    { pointers: ["vaddr"] },
  ),
  ofStruct(
    { VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY: spapr.VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY },
    spapr.VfioIommuSpaprRegisterMemory,
    { pointers: ["vaddr"] },
  ),
  ofStruct({ VFIO_IOMMU_SPAPR_TCE_CREATE: spapr.VFIO_IOMMU_SPAPR_TCE_CREATE }, spapr.VfioIommuSpaprTceCreate),
  ofStruct({ VFIO_IOMMU_SPAPR_TCE_REMOVE: spapr.VFIO_IOMMU_SPAPR_TCE_REMOVE }, spapr.VfioIommuSpaprTceRemove),
  ofStruct({ VFIO_EEH_PE_OP: spapr.VFIO_EEH_PE_OP }, spapr.VfioEehPeOp, {
    names: { op: values(spapr, "VFIO_EEH_PE_", /_STATE_/) },
  }),
];
