import { lastOfBits } from "../../iommu/address-bits.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { DEFAULT_MODULES, emulatedGroup, mdevDevice, pciDevice, x86Group } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * A host to try programs on, made for that and like no machine in particular: devices that do something, each in a
 * group of its own, by both APIs. What DPDK, QEMU and the kernel's selftests need is here.
 */
export const lab: HostDescription = {
  name: "lab",
  description:
    "Intel VT-d, 39-bit IOVAs, dirty tracking, two DMA engines, an NVMe disk, an edu, a pci-testdev and a sample mediated device, /dev/iommu",
  kernel: "6.12",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: true,
  iommu: {
    model: "intel-vtd",
    apertureStart: 0n,
    apertureLast: lastOfBits(39),
    pageSizes: kindOf("intel-vtd").defaults.pageSizes(4096),
    cacheCoherent: false,
    interruptRemapping: true,
    dirtyTracking: true,
  },
  modules: { ...DEFAULT_MODULES, vfioPci: { dmaBuf: true } },
  groups: [
    x86Group(
      0,
      pciDevice({ bdf: "0000:00:02.0", name: "GPU", vendor: 0x8086, device: 0x1622, class: 0x030000, driver: "i915" }),
    ),
    x86Group(1, pciDevice({ bdf: "0000:01:00.0", name: "DMA engine", vendor: 0x8086, device: 0x2021 })),
    x86Group(2, pciDevice({ bdf: "0000:02:00.0", name: "DMA engine", vendor: 0x8086, device: 0x2021 })),
    x86Group(3, pciDevice({ bdf: "0000:03:00.0", name: "edu", vendor: 0x1234, device: 0x11e8 })),
    emulatedGroup(
      4,
      mdevDevice({
        uuid: "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
        name: "sample",
        parent: "0000:00:02.0",
        type: "uvfio-sample",
      }),
    ),
    x86Group(5, pciDevice({ bdf: "0000:04:00.0", name: "test device", vendor: 0x1b36, device: 0x0005 })),
    x86Group(6, pciDevice({ bdf: "0000:05:00.0", name: "NVMe", vendor: 0x1b36, device: 0x0010 })),
  ],
};
