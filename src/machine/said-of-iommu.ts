import type { SaidOfIommu } from "../iommu/kind.ts";
import type { HostFile } from "./host-schema.ts";

/** What is said of an IOMMU that its kind makes something of. */
export function saidOf(iommu: HostFile["iommu"]): SaidOfIommu {
  const { hw_info: info } = iommu;
  return {
    addressBits: iommu.address_bits ?? undefined,
    apertureLast: iommu.aperture_end ?? undefined,
    cacheCoherent: iommu.cache_coherent ?? undefined,
    nesting: iommu.nesting ?? undefined,
    dirtyTracking: iommu.dirty_tracking ?? undefined,
    smmu: info == null ? undefined : { idr: info.idr, iidr: info.iidr ?? 0, aidr: info.aidr ?? 0 },
    coherentWriteBack: iommu.canwbs ?? undefined,
  };
}
