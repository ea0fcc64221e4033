import { lastOfBits } from "../../iommu/address-bits.ts";
import { X86_MSI_WINDOW } from "../../iommu/known-regions.ts";
import { DEFAULT_MODULES, emulatedGroup, mdevDevice, pciDevice } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * The Intel system of the mail "vfio/type1: Add support for valid iova list management" (25 May 2018): the two devices
 * that were added, the page sizes and the aperture as the dump of struct vfio_iommu_type1_info shows them. What the
 * mail does not say (ids, group numbers, the parent's driver) is a Broadwell desktop, the machine with HD audio at
 * 00:1b.0 and GVT-g.
 */
export const intel: HostDescription = {
  name: "intel",
  description: "Intel VT-d, 57-bit IOVAs, an HD audio controller and a mediated GPU",
  kernel: "6.12",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: false,
  iommu: {
    model: "intel-vtd",
    apertureStart: 0n,
    apertureLast: lastOfBits(57),
    pageSizes: 0xffff_ffff_ffff_f000n,
    // Snoop control, as hardware VT-d has it.
    cacheCoherent: true,
    interruptRemapping: true,
  },
  modules: DEFAULT_MODULES,
  groups: [
    {
      id: 1,
      type: "DMA",
      reservedRegions: [X86_MSI_WINDOW.region],
      devices: [
        pciDevice({
          bdf: "0000:00:02.0",
          name: "Iris Pro Graphics 6200",
          vendor: 0x8086,
          device: 0x1622,
          class: 0x030000,
          revision: 0x0a,
          subsystemVendor: 0x8086,
          subsystemDevice: 0x2010,
          driver: "i915",
          bars: [
            { index: 0, size: 0x100_0000, type: "memory64" },
            { index: 2, size: 0x1000_0000, type: "memory64" },
            { index: 4, size: 0x40, type: "io" },
          ],
        }),
      ],
    },
    {
      id: 5,
      type: "DMA",
      reservedRegions: [X86_MSI_WINDOW.region],
      devices: [
        pciDevice({
          bdf: "0000:00:1b.0",
          name: "9 Series HD Audio Controller",
          vendor: 0x8086,
          device: 0x8ca0,
          class: 0x040300,
          subsystemVendor: 0x8086,
          subsystemDevice: 0x2010,
          bars: [{ index: 0, size: 0x4000, type: "memory64" }],
        }),
      ],
    },
    emulatedGroup(
      12,
      mdevDevice({ uuid: "c08db5ed-05d3-4b39-b150-438a18bc698f", parent: "0000:00:02.0", type: "i915-GVTg_V4_4" }),
    ),
  ],
};
