import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import { type IommuKind, PLAIN_IOMMUFD } from "../kind.ts";

export const s390: IommuKind = {
  model: "s390",
  title: "s390 PCI IOMMU",
  translates: true,
  usualArch: "s390x",
  defaults: {
    // what QEMU's zPCI announces (hw/s390x/s390-pci-bus.h: ZPCI_SDMA_ADDR, ZPCI_EDMA_ADDR)
    aperture: { start: 0x1_0000_0000n, last: 0x1ff_ffff_ffff_ffffn },
    lastOfBits,
    bitsOfLast,
    // drivers/iommu/s390-iommu.c: SZ_4K
    pageSizes: () => 0x1000n,
    cacheCoherent: false,
    interruptRemapping: () => true,
    reservedRegions: () => [],
    groupType: "DMA",
    container: "type1",
  },
  ownKeys: [],
  canNest: false,
  tracksDirtyPages: "no",
  needs: "s390Driver",
  driver: {
    writeImpliesRead: () => false,
    refusesDirectRegions: () => false,
    // s390-iommu.c:s390_iommu_map_pages
    beyondAperture: "ERANGE",
    nestingErrno: "EINVAL",
    mapsNoAccess: false,
    faultsNeedPageRequests: false,
    hasPasidTables: false,
  },
  iommufd: PLAIN_IOMMUFD,
};
