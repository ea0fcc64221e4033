import { ALL_64_BITS, bitsOfLast, lastOfBits } from "../address-bits.ts";
import { type IommuKind, PLAIN_DRIVER, PLAIN_IOMMUFD } from "../kind.ts";

/** A host without IOMMU, whose VFIO runs in no-IOMMU mode if at all. Nothing translates, nothing limits. */
export const none: IommuKind = {
  model: "none",
  title: "no IOMMU",
  translates: false,
  usualArch: "x86_64",
  cpuVendor: "intel",
  defaults: {
    aperture: { start: 0n, last: ALL_64_BITS },
    lastOfBits,
    bitsOfLast,
    pageSizes: () => 0n,
    cacheCoherent: false,
    interruptRemapping: () => false,
    reservedRegions: () => [],
    groupType: "unknown",
    container: "type1",
  },
  ownKeys: [],
  makeNesting: undefined,
  tracksDirtyPages: "no",
  driver: PLAIN_DRIVER,
  iommufd: PLAIN_IOMMUFD,
};
