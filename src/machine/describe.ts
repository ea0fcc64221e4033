import type { ReservedRegion } from "../iommu/group.ts";
import { X86_MSI_WINDOW } from "../iommu/known-regions.ts";
import type {
  GroupDescription,
  MdevDeviceDescription,
  ModuleParameters,
  PciDeviceDescription,
} from "./host-description.ts";
import { knownDevice } from "./known-devices.ts";

/** What must be said of a PCI device; the rest has defaults. `undefined` counts as not said. */
export type PciDeviceFacts = Pick<PciDeviceDescription, "bdf" | "vendor" | "device"> & {
  readonly [Key in keyof PciDeviceDescription]?: PciDeviceDescription[Key] | undefined;
};

/** Fills in what `facts` leave open: from its config space, else from its ids, else the defaults of host-description.ts. */
export function pciDevice(facts: PciDeviceFacts): PciDeviceDescription {
  const { config } = facts;
  const known = knownDevice(facts.vendor, facts.device);
  const word = (offset: number) => (config ? config[offset]! | (config[offset + 1]! << 8) : undefined);
  const configClass = config ? config[9]! | (config[10]! << 8) | (config[11]! << 16) : undefined;
  const deviceClass = facts.class ?? configClass ?? known?.class ?? 0xff0000;
  const model = facts.model ?? known?.model ?? "generic";
  return {
    bus: "pci",
    bdf: facts.bdf,
    name: facts.name ?? "",
    vendor: facts.vendor,
    device: facts.device,
    class: deviceClass,
    revision: facts.revision ?? config?.[8] ?? 0,
    subsystemVendor: facts.subsystemVendor ?? word(0x2c) ?? known?.subsystemVendor ?? 0,
    subsystemDevice: facts.subsystemDevice ?? word(0x2e) ?? known?.subsystemDevice ?? 0,
    driver: facts.driver === undefined ? defaultDriver(deviceClass) : facts.driver,
    model,
    mmap: facts.mmap ?? (model !== "edu" && model !== "pci-testdev"),
    ...(config && { config }),
    bars: facts.bars ?? known?.bars ?? [],
    ...(facts.translation && Object.values(facts.translation).includes(true) && { translation: facts.translation }),
    reservedRegions: facts.reservedRegions ?? [],
  };
}

/** vfio-pci refuses bridges (vfio_pci_core.c: vfio_pci_core_register_device wants a normal header). */
function defaultDriver(deviceClass: number): string | null {
  return deviceClass >>> 8 === 0x0604 ? null : "vfio-pci";
}

export type MdevDeviceFacts = Pick<MdevDeviceDescription, "uuid" | "parent" | "type"> & {
  readonly [Key in keyof MdevDeviceDescription]?: MdevDeviceDescription[Key] | undefined;
};

export function mdevDevice(facts: MdevDeviceFacts): MdevDeviceDescription {
  return {
    bus: "mdev",
    uuid: facts.uuid,
    name: facts.name ?? "",
    parent: facts.parent,
    type: facts.type,
    iommuBacked: facts.iommuBacked ?? false,
    driver: facts.driver === undefined ? "vfio_mdev" : facts.driver,
    model: facts.model ?? (facts.type.startsWith(GVT_TYPES) ? "generic" : "sample"),
  };
}

/** What the type ids of i915 GVT begin with. */
const GVT_TYPES = "i915-GVTg_";

/** The name that VFIO gives to groups of its own making: no-IOMMU and unbacked mdev ones (drivers/vfio/group.c: vfio_noiommu_group_alloc). */
export const VFIO_GROUP_NAME = "vfio-noiommu";

/** The group of one mediated device without IOMMU backing. */
export function emulatedGroup(id: number, device: MdevDeviceDescription): GroupDescription {
  return { id, type: "unknown", name: VFIO_GROUP_NAME, reservedRegions: [], devices: [device] };
}

/** A group of one device on x86: DMA to its MSI window is an interrupt. */
export function x86Group(id: number, device: PciDeviceDescription): GroupDescription {
  return { id, type: "DMA", reservedRegions: [X86_MSI_WINDOW.region], devices: [device] };
}

/** Module parameters as an untouched host boots with them. */
export const DEFAULT_MODULES: ModuleParameters = {
  vfio: {},
  vfioIommuType1: { dmaEntryLimit: 65535, allowUnsafeInterrupts: false, disableHugepages: false },
  iommufd: { allowUnsafeInterrupts: false },
};

/** The regions in order, each once. */
export function mergeRegions(...lists: readonly (readonly ReservedRegion[])[]): readonly ReservedRegion[] {
  const merged: ReservedRegion[] = [];
  for (const region of lists.flat()) if (!merged.some((other) => sameRegion(other, region))) merged.push(region);
  return merged.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.last < b.last ? -1 : 1));
}

function sameRegion(a: ReservedRegion, b: ReservedRegion): boolean {
  return a.start === b.start && a.last === b.last && a.type === b.type;
}
