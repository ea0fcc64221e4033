import { kindOf } from "../../iommu/kinds.ts";
import { DEFAULT_MODULES, pciDevice, x86Group } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * As `lab`, a host to try programs on: its IOMMU nests a guest's page tables on the program's, and one of its devices
 * makes requests with PASIDs and asks for pages that are missing. What a VMM needs to try its virtual IOMMU with
 * iommufd is here.
 */
export const labNesting: HostDescription = {
  name: "lab-nesting",
  description:
    "Intel VT-d with nested translation, PASIDs, page requests and dirty tracking, two edu, a DMA engine, /dev/iommu",
  kernel: "7.2",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: true,
  iommu: {
    model: "intel-vtd-sm",
    apertureStart: 0n,
    apertureLast: kindOf("intel-vtd-sm").defaults.lastOfBits(48),
    pageSizes: kindOf("intel-vtd-sm").defaults.pageSizes(4096),
    cacheCoherent: true,
    interruptRemapping: true,
    nesting: true,
    dirtyTracking: true,
  },
  modules: { ...DEFAULT_MODULES, vfio: { enableUnsafeNoiommuMode: false }, vfioPci: { dmaBuf: true } },
  groups: [
    x86Group(
      1,
      pciDevice({
        bdf: "0000:01:00.0",
        name: "edu with PASIDs, ATS and page requests",
        vendor: 0x1234,
        device: 0x11e8,
        translation: { pasid: true, ats: true, pri: true },
      }),
    ),
    x86Group(2, pciDevice({ bdf: "0000:02:00.0", name: "edu", vendor: 0x1234, device: 0x11e8 })),
    x86Group(3, pciDevice({ bdf: "0000:03:00.0", name: "DMA engine", vendor: 0x8086, device: 0x2021 })),
  ],
};
