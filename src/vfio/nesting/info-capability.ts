import type { CapabilityStructure } from "../../uapi/capability-chain.ts";
import { IOMMU_PASID_FORMAT_INTEL_VTD } from "../../uapi/iommu-v510.ts";
import * as v7 from "../../uapi/vsva-v7.ts";

/** Capability register: 5-level first-level tables (bit 60), 1 GiB pages (bit 56), 16-bit domain-ids. */
const CAP_REG = (1n << 60n) | (1n << 56n) | 6n;
/**
 * Extended capability register: scalable mode (43), PASID (40) with 20 bits (35-39 are 19), nesting (26), device TLBs
 * (2), SRS (31), EAFS (34).
 */
const ECAP_REG = (1n << 43n) | (1n << 40n) | (19n << 35n) | (1n << 34n) | (1n << 31n) | (1n << 26n) | (1n << 2n);

/** What a nesting container's IOMMU can nest: VFIO_IOMMU_TYPE1_INFO_CAP_NESTING of v7. */
export function nestingCapability(littleEndian: boolean): CapabilityStructure {
  const info = {
    argsz: v7.IommuNestingInfo.size,
    format: IOMMU_PASID_FORMAT_INTEL_VTD,
    features:
      v7.IOMMU_NESTING_FEAT_SYSWIDE_PASID | v7.IOMMU_NESTING_FEAT_BIND_PGTBL | v7.IOMMU_NESTING_FEAT_CACHE_INVLD,
    addr_width: 57,
    pasid_bits: 20,
    flags: 0,
    padding: new Array<number>(12).fill(0),
    vendor: { vtd: { flags: 0, cap_reg: CAP_REG, ecap_reg: ECAP_REG } },
  };
  const structure = v7.VfioIommuType1InfoCapNesting.encode({ info }, 0, littleEndian);
  return { id: v7.VFIO_IOMMU_TYPE1_INFO_CAP_NESTING, version: 1, structure };
}
