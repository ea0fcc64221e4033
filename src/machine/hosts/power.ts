import type { SpaprPlatform } from "../../iommu/description.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { defaultSpapr } from "../../iommu/tce/kind.ts";
import { DEFAULT_MODULES, pciDevice } from "../describe.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";

/** A POWER host with sPAPR TCE and a kernel of 64K pages, as distributions ship it. */
export function powerHost(
  platform: SpaprPlatform,
  facts: Pick<HostDescription, "name" | "description" | "groups">,
): HostDescription {
  const spapr = defaultSpapr(platform);
  return {
    ...facts,
    kernel: "6.12",
    api: "mainline",
    arch: "ppc64le",
    pageSize: 65536,
    vfioContainer: "spapr",
    iommufd: false,
    iommu: {
      model: "spapr-tce",
      apertureStart: spapr.dma32WindowStart,
      apertureLast: spapr.dma32WindowStart + spapr.dma32WindowSize - 1n,
      pageSizes: kindOf("spapr-tce").defaults.pageSizes(65536, platform),
      cacheCoherent: false,
      interruptRemapping: true,
      spapr,
    },
    modules: DEFAULT_MODULES,
  };
}

/** One device alone behind a host bridge: the group is named after its partitionable endpoint (domainN-peM). */
export function endpoint(
  id: number,
  name: string,
  device: { readonly bdf: string; readonly name: string; readonly vendor: number; readonly device: number },
): GroupDescription {
  return { id, type: "unknown", name, reservedRegions: [], devices: [pciDevice(device)] };
}

/** The same host with a kernel of 4K pages: what a program with pages of that size expects. */
export function with4kPages(host: HostDescription): HostDescription {
  return {
    ...host,
    name: `${host.name}-4k`,
    description: host.description.replace("64K page kernel", "4K page kernel"),
    pageSize: 4096,
  };
}
