import { ALL_64_BITS, bitsOfLast, lastOfBits } from "../address-bits.ts";
import { captureWithoutFacts, type IommuKind, PLAIN_DRIVER, PLAIN_IOMMUFD } from "../kind.ts";
import { ARM_SOFTWARE_MSI_WINDOW, X86_MSI_WINDOW } from "../known-regions.ts";

export const virtioIommu: IommuKind = {
  model: "virtio-iommu",
  title: "virtio-iommu",
  translates: true,
  usualArch: "x86_64",
  cpuVendor: "intel",
  defaults: {
    // the device says, and its default is all
    aperture: { start: 0n, last: ALL_64_BITS },
    lastOfBits,
    bitsOfLast,
    pageSizes: () => 0xffff_ffff_ffff_f000n,
    cacheCoherent: false,
    // on x86 it has nothing for that (recorded: SET_IOMMU is EPERM on virtio-safe); on Arm the ITS tells devices apart,
    // whatever the IOMMU
    interruptRemapping: (arch) => arch !== "x86_64",
    reservedRegions: (arch) => [arch === "x86_64" ? X86_MSI_WINDOW : ARM_SOFTWARE_MSI_WINDOW],
    groupType: "DMA",
    container: "type1",
  },
  ownKeys: [],
  makeNesting: undefined,
  tracksDirtyPages: "no",
  needs: "virtioIommuDriver",
  driver: {
    ...PLAIN_DRIVER,
    // the device refuses it (VIRTIO_IOMMU_S_RANGE, virtio-iommu.c:viommu_get_req_errno)
    beyondAperture: "ERANGE",
    mapsNoAccess: true,
  },
  iommufd: { ...PLAIN_IOMMUFD, attachesOneDevice: (release) => release.has("secondOfGroupRefused") },
  sysfs: {
    name: "virtio0",
    names: /^virtio\d+$/,
    attributes: () => [],
    capture: (source) => captureWithoutFacts("virtio-iommu", source),
  },
};
