import { lastOfBits } from "../../iommu/address-bits.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { X86_MSI_WINDOW } from "../../iommu/known-regions.ts";
import { DEFAULT_MODULES, pciDevice } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * A virtual machine with virtio-iommu, as recorded: 39 bits of input, no interrupt remapping, and therefore VFIO's
 * allow_unsafe_interrupts switched on (without it SET_IOMMU is EPERM).
 */
export const virtio: HostDescription = {
  name: "virtio",
  description: "virtio-iommu in a virtual machine, 39-bit IOVAs, no interrupt remapping",
  kernel: "6.12",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: false,
  iommu: {
    model: "virtio-iommu",
    apertureStart: 0n,
    apertureLast: lastOfBits(39),
    pageSizes: kindOf("virtio-iommu").defaults.pageSizes(4096),
    cacheCoherent: false,
    interruptRemapping: false,
  },
  modules: {
    ...DEFAULT_MODULES,
    vfioIommuType1: { ...DEFAULT_MODULES.vfioIommuType1, allowUnsafeInterrupts: true },
  },
  groups: [
    {
      id: 4,
      type: "DMA-FQ",
      reservedRegions: [X86_MSI_WINDOW.region],
      devices: [pciDevice({ bdf: "0000:00:04.0", name: "edu", vendor: 0x1234, device: 0x11e8 })],
    },
    {
      id: 5,
      type: "DMA-FQ",
      reservedRegions: [X86_MSI_WINDOW.region],
      devices: [pciDevice({ bdf: "0000:00:05.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 })],
    },
  ],
};
