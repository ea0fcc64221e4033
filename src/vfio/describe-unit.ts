import type { IommuUnit } from "../iommu/unit.ts";
import type { Release } from "../kernel/releases.ts";
import type { IommuDescription, IommuModel } from "../machine/host-description.ts";

const NAMES: Record<Exclude<IommuModel, "none">, string> = {
  "intel-vtd": "Intel VT-d",
  "intel-vtd-sm": "Intel VT-d (first-stage tables)",
  "amd-vi": "AMD-Vi",
  "virtio-iommu": "virtio-iommu",
  "arm-smmu-v3": "Arm SMMUv3",
  "spapr-tce": "POWER TCE",
  s390: "s390 PCI IOMMU",
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
    pageSizes: isVtd(model) && !release.has("reportedPageSizes") ? VTD_CLAIMED_SIZES : description.pageSizes,
    cacheCoherent: description.cacheCoherent,
    isolatedMsi: description.interruptRemapping,
    refusesDirectRegions: isVtd(model) && release.has("rmrrIneligible"),
    beyondAperture: beyondAperture(model),
    dirtyTracking: description.dirtyTracking ?? false,
    writeImpliesRead: writeImpliesRead(model, release),
    // recorded: an SMMUv3 without stage 2 says EPERM to nesting, the others have no such operation (g_nested_type)
    nesting: model === "arm-smmu-v3" ? "EPERM" : "EINVAL",
  };
  return description.nesting ? { ...unit, secondStage: secondStage(unit, release) } : unit;
}

/** INTEL_IOMMU_PGSIZES: every multiple of 4 KiB, whatever the unit's tables have. */
const VTD_CLAIMED_SIZES = 2n ** 64n - 4096n;

function isVtd(model: IommuModel): boolean {
  return model === "intel-vtd" || model === "intel-vtd-sm";
}

/** intel/iommu.c:intel_iommu_map_pages; io-pgtable-arm.c:arm_lpae_map_pages. AMD's tables grow by a level (amd/io_pgtable.c). */
function beyondAperture(model: IommuModel): IommuUnit["beyondAperture"] {
  if (isVtd(model)) return "EFAULT";
  return model === "amd-vi" ? undefined : "ERANGE";
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
