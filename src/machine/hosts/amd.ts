import { lastOfBits } from "../../iommu/address-bits.ts";
import { regionsOf } from "../../iommu/kinds.ts";
import { DEFAULT_MODULES, pciDevice } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * The AMD system of the same mail (see intel.ts): one device, all 64 address bits, every page size but 512 GiB, and the
 * HyperTransport hole below 1 TiB. The mail does not say what the device is; here it is a network card.
 */
export const amd: HostDescription = {
  name: "amd",
  description: "AMD-Vi, 64-bit IOVAs with the HyperTransport hole below 1 TiB",
  kernel: "6.12",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: false,
  iommu: {
    model: "amd-vi",
    apertureStart: 0n,
    apertureLast: lastOfBits(64),
    pageSizes: 0xffff_ff7f_ffff_f000n,
    cacheCoherent: true,
    interruptRemapping: true,
  },
  modules: DEFAULT_MODULES,
  groups: [
    {
      id: 13,
      type: "DMA",
      reservedRegions: regionsOf("amd-vi", "x86_64"),
      devices: [pciDevice({ bdf: "0000:01:00.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 })],
    },
  ],
};
