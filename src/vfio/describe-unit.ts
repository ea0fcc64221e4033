import type { IommuUnit } from "../iommu/unit.ts";
import type { Release } from "../kernel/releases.ts";
import type { IommuDescription, IommuModel } from "../machine/host-description.ts";
import type { ErrnoName } from "../uapi/errno.ts";

const NAMES: Record<Exclude<IommuModel, "none">, string> = {
  "intel-vtd": "Intel VT-d",
  "intel-vtd-sm": "Intel VT-d (first-stage tables)",
  "amd-vi": "AMD-Vi",
  "virtio-iommu": "virtio-iommu",
  "arm-smmu-v3": "Arm SMMUv3",
  "spapr-tce": "POWER TCE",
  s390: "s390 PCI IOMMU",
};

/**
 * intel/iommu.c:intel_iommu_map; amd/io_pgtable.c:iommu_v1_map_pages (no table can be made for the address); virtio-iommu.c:viommu_get_req_errno (its
 * status RANGE); io-pgtable-arm.c:arm_lpae_map_pages; s390-iommu.c:s390_iommu_map_pages.
 */
const BEYOND_APERTURE: Record<Exclude<IommuModel, "none">, ErrnoName> = {
  "intel-vtd": "EFAULT",
  "intel-vtd-sm": "EFAULT",
  "amd-vi": "ENOMEM",
  "virtio-iommu": "ERANGE",
  "arm-smmu-v3": "ERANGE",
  "spapr-tce": "EINVAL",
  s390: "EINVAL",
};

/** The IOMMU of a host as its kernel driver presents it; undefined where there is none. */
export function unitOf(description: IommuDescription, release: Release): IommuUnit | undefined {
  const { model } = description;
  if (model === "none") return undefined;
  const unit: IommuUnit = {
    label: `${NAMES[model]}, ${description.apertureLast.toString(2).length} address bits`,
    driver: model,
    apertureStart: description.apertureStart,
    apertureLast: description.apertureLast,
    beyondAperture: BEYOND_APERTURE[model],
    pageSizes: description.pageSizes,
    cacheCoherent: description.cacheCoherent,
    isolatedMsi: description.interruptRemapping,
    dirtyTracking: description.dirtyTracking ?? false,
    writeImpliesRead: writeImpliesRead(model, release),
    // recorded: an SMMUv3 without stage 2 says EPERM to nesting, the others have no such operation (g_nested_type)
    nesting: model === "arm-smmu-v3" ? "EPERM" : "EINVAL",
  };
  return description.nesting ? { ...unit, secondStage: secondStage(unit, release) } : unit;
}

/** Second-stage addresses are not signed: there are twice as many (intel/iommu.c:compute_vasz_lg2_ss). */
function secondStage(unit: IommuUnit, release: Release): IommuUnit {
  const apertureLast = unit.apertureLast * 2n + 1n;
  return {
    ...unit,
    label: `${NAMES["intel-vtd"]} (second-stage tables), ${apertureLast.toString(2).length} address bits`,
    apertureLast,
    writeImpliesRead: writeImpliesRead("intel-vtd", release),
  };
}

/**
 * Stage-1 tables of Intel and Arm have no write-only entries; VT-d's second stage has, but its driver used the read bit as "present"
 * for long (recorded in dma_writeonly on all of them).
 */
function writeImpliesRead(model: IommuModel, release: Release): boolean {
  if (model === "intel-vtd-sm" || model === "arm-smmu-v3") return true;
  return model === "intel-vtd" && !release.has("writeOnlyDenied");
}
