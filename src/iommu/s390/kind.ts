import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import { captureWithoutFacts, type IommuKind, PLAIN_DRIVER, PLAIN_IOMMUFD } from "../kind.ts";

/** Three levels of tables (s390-iommu.c: ZPCI_TABLE_SIZE_RT), recorded on s390x in all reserved regions. */
const TABLES_END = 0x3ff_ffff_ffffn;

export const s390: IommuKind = {
  model: "s390",
  title: "s390 PCI IOMMU",
  translates: true,
  usualArch: "s390x",
  defaults: {
    // From where QEMU's functions start (hw/s390x/s390-pci-bus.h: ZPCI_SDMA_ADDR) to where the tables end:
    // s390_iommu_aperture=0 (FINDINGS on s390x-ap0). Without that parameter a function's range is as large as the
    // machine's memory.
    aperture: { start: 0x1_0000_0000n, last: TABLES_END },
    lastOfBits,
    bitsOfLast,
    // drivers/iommu/s390-iommu.c: SZ_4K
    pageSizes: () => 0x1000n,
    cacheCoherent: false,
    interruptRemapping: () => true,
    reservedRegions: () => [],
    groupType: "DMA-FQ",
    container: "type1",
  },
  geometry: { start: 0n, last: TABLES_END },
  ownKeys: [],
  makeNesting: undefined,
  tracksDirtyPages: "no",
  needs: "s390Driver",
  driver: {
    ...PLAIN_DRIVER,
    // s390-iommu.c:s390_iommu_map_pages
    beyondAperture: "ERANGE",
  },
  iommufd: PLAIN_IOMMUFD,
  sysfs: {
    name: "s390-iommu.00000000",
    // arch/s390/pci/pci.c: zpci_init_iommu
    ofFunction: (functionId) => `s390-iommu.${functionId.toString(16).padStart(8, "0")}`,
    names: /^s390-iommu\.[0-9a-f]{8}$/,
    attributes: () => [],
    capture: (source) => captureWithoutFacts("s390", source),
  },
};
