import type { PciBar } from "../../devices/description.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { DEFAULT_MODULES, defaultRegions, pciDevice } from "../describe.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";
import { zpciFunction } from "../zpci.ts";
import { zpciConfig } from "../zpci-configs.ts";

const GIBIBYTE = 2n ** 30n;
const FIRST_IOVA = 0x1_0000_0000n;

/** s390_iommu_aperture=1, the default: functions reach as many bytes as the machine has memory, 2 GiB here. */
const iommu: HostDescription["iommu"] = {
  model: "s390",
  apertureStart: FIRST_IOVA,
  apertureLast: FIRST_IOVA + 2n * GIBIBYTE - 1n,
  pageSizes: kindOf("s390").defaults.pageSizes(4096),
  cacheCoherent: false,
  interruptRemapping: true,
};

const virtio: readonly PciBar[] = [
  { index: 1, size: 0x1000, type: "memory" },
  { index: 4, size: 0x4000, type: "memory64" },
];

/** A function alone in its group, as all are; its domain is its UID. */
function functionGroup(
  id: number,
  facts: { readonly name: string; readonly vendor: number; readonly device: number; readonly bars: readonly PciBar[] },
): GroupDescription {
  const bdf = `00${(0x11 + id).toString(16)}:00:00.0`;
  const zpci = zpciFunction(bdf, iommu, { function_id: 0x101 + id, function_handle: 0x8002_0000 + id });
  return {
    id,
    type: "DMA-FQ",
    reservedRegions: defaultRegions(iommu, "s390x"),
    devices: [pciDevice({ bdf, ...facts, config: zpciConfig(facts), zpci })],
  };
}

/** An s390x guest of QEMU with five functions on zPCI, as recorded on s390x. */
export const s390: HostDescription = {
  name: "s390",
  description: "s390x, zPCI: 2 GiB of IOVAs from 4 GiB on, functions alone in their groups, big-endian",
  kernel: "6.12",
  api: "mainline",
  arch: "s390x",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: false,
  iommu,
  modules: DEFAULT_MODULES,
  groups: [
    functionGroup(0, { name: "virtio-rng", vendor: 0x1af4, device: 0x1044, bars: virtio }),
    functionGroup(1, { name: "virtio-net", vendor: 0x1af4, device: 0x1041, bars: virtio }),
    functionGroup(2, {
      name: "NVMe",
      vendor: 0x1b36,
      device: 0x0010,
      bars: [{ index: 0, size: 0x4000, type: "memory64" }],
    }),
    functionGroup(3, {
      name: "82574L Gigabit",
      vendor: 0x8086,
      device: 0x10d3,
      bars: [
        { index: 0, size: 0x2_0000, type: "memory" },
        { index: 1, size: 0x2_0000, type: "memory" },
        { index: 3, size: 0x4000, type: "memory" },
      ],
    }),
    functionGroup(4, {
      name: "82576 Gigabit",
      vendor: 0x8086,
      device: 0x10c9,
      bars: [
        { index: 0, size: 0x2_0000, type: "memory" },
        { index: 1, size: 0x2_0000, type: "memory" },
        { index: 3, size: 0x4000, type: "memory64" },
      ],
    }),
  ],
};
