import { isBridge } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { type DeviceOptions, readOptions } from "../devices/options.ts";
import { withRomBar } from "../devices/pci/rom-image.ts";
import type { IommuDescription } from "../iommu/description.ts";
import type { ReservedRegion } from "../iommu/group.ts";
import { kindOf, regionsOf } from "../iommu/kinds.ts";
import { X86_MSI_WINDOW } from "../iommu/known-regions.ts";
import type { Arch } from "../kernel/arch.ts";
import type {
  GroupDescription,
  MdevDeviceDescription,
  ModuleParameters,
  PciDeviceDescription,
} from "./host-description.ts";
import { VFIO_GROUP_NAME } from "./without-iommu.ts";
import { zpciBars } from "./zpci.ts";

/** What must be said of a PCI device; the rest has defaults. `undefined` counts as not said. */
export type PciDeviceFacts = Pick<PciDeviceDescription, "bdf" | "vendor" | "device"> & {
  readonly [Key in Exclude<keyof PciDeviceDescription, "options">]?: PciDeviceDescription[Key] | undefined;
} & GivenOptions;

/** Options are said as a host file has them; they have been checked. */
interface GivenOptions {
  readonly options?: Readonly<Record<string, unknown>> | undefined;
}

/** What most functions of s390 are that say no model. */
const ZPCI_MODEL = "zpci";

/**
 * Fills in what `facts` leave open: from its config space, else from its kind and ids, else the defaults of
 * host-description.ts.
 */
export function pciDevice(facts: PciDeviceFacts, kinds: DeviceKinds = DEVICE_KINDS): PciDeviceDescription {
  const { config, vendor, device } = facts;
  const ofIds = kinds.kindOfIds(vendor, device);
  const model = facts.model ?? (facts.zpci && !ofIds.worksBehindZpci ? ZPCI_MODEL : undefined);
  const kind = model === undefined ? ofIds : kinds.pciKind(model);
  const known = kinds.knownDevice(kind, vendor, device);
  const configClass = config ? config[9]! | (config[10]! << 8) | (config[11]! << 16) : undefined;
  const { options } = completeOptions(kind, facts.options);
  const bars = facts.bars ?? kind.bars?.({ name: facts.bdf, options: options ?? {} }) ?? known?.bars ?? [];
  const deviceClass = facts.class ?? configClass ?? known?.class ?? 0xff0000;
  const described: Described = {
    bus: "pci",
    bdf: facts.bdf,
    name: facts.name ?? "",
    vendor,
    device,
    class: deviceClass,
    revision: facts.revision ?? config?.[8] ?? 0,
    subsystemVendor: facts.subsystemVendor ?? wordAt(config, 0x2c) ?? known?.subsystemVendor ?? 0,
    subsystemDevice: facts.subsystemDevice ?? wordAt(config, 0x2e) ?? known?.subsystemDevice ?? 0,
    driver: facts.driver === undefined ? defaultDriver(deviceClass) : facts.driver,
    model: kind.model,
    mmap: facts.mmap ?? kind.mmap,
    bars: facts.zpci ? zpciBars(bars) : withRomBar(bars, facts.rom),
    reservedRegions: facts.reservedRegions ?? [],
  };
  if (options) described.options = options;
  if (config) described.config = config;
  // an iterator would be made anew for each device
  for (let at = 0; at < SELDOM.length; at++) {
    const key = SELDOM[at]!;
    if (facts[key] !== undefined) Object.assign(described, { [key]: facts[key] });
  }
  if (facts.translation && Object.values(facts.translation).includes(true)) described.translation = facts.translation;
  if (facts.zpci) described.zpci = facts.zpci;
  return described as PciDeviceDescription;
}

function wordAt(config: Uint8Array | undefined, offset: number): number | undefined {
  return config && config[offset]! | (config[offset + 1]! << 8);
}

/** On its way: one object for each of thousands of devices. */
type Described = { -readonly [Key in keyof PciDeviceDescription]?: PciDeviceDescription[Key] };

/** What a description says only of devices that differ from the usual. */
const SELDOM = [
  "migration",
  "refusedDriver",
  "pcie",
  "physfn",
  "sriovTotalVfs",
  "irq",
  "irqSharedWith",
  "intxMasking",
  "cacheCoherent",
  "rom",
  "secondaryBus",
  "numaNode",
] as const satisfies readonly (keyof PciDeviceDescription)[];

/** vfio-pci refuses bridges (vfio_pci_core.c: vfio_pci_core_register_device wants a normal header). */
function defaultDriver(deviceClass: number): string | null {
  return isBridge({ class: deviceClass }) ? null : "vfio-pci";
}

function completeOptions(
  kind: Parameters<typeof readOptions>[0],
  given: GivenOptions["options"],
): { readonly options?: DeviceOptions } {
  return kind.options ? { options: readOptions(kind, given).values } : {};
}

export type MdevDeviceFacts = Pick<MdevDeviceDescription, "uuid" | "parent" | "type"> & {
  readonly [Key in Exclude<keyof MdevDeviceDescription, "options">]?: MdevDeviceDescription[Key] | undefined;
} & GivenOptions;

export function mdevDevice(facts: MdevDeviceFacts, kinds: DeviceKinds = DEVICE_KINDS): MdevDeviceDescription {
  const kind = facts.model === undefined ? kinds.kindOfType(facts.type) : kinds.mediatedKind(facts.model);
  return {
    bus: "mdev",
    uuid: facts.uuid,
    name: facts.name ?? "",
    parent: facts.parent,
    type: facts.type,
    iommuBacked: facts.iommuBacked ?? false,
    driver: facts.driver === undefined ? "vfio_mdev" : facts.driver,
    model: kind.model,
    ...completeOptions(kind, facts.options),
  };
}

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
  for (const list of lists)
    for (const region of list) if (!merged.some((other) => sameRegion(other, region))) merged.push(region);
  return merged.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.last < b.last ? -1 : 1));
}

function sameRegion(a: ReservedRegion, b: ReservedRegion): boolean {
  return a.start === b.start && a.last === b.last && a.type === b.type;
}

/**
 * The regions of a group that lists none: those of its kind of IOMMU, and what its devices cannot reach where that is
 * shown as regions.
 */
export function defaultRegions(
  { model, apertureStart, apertureLast }: IommuDescription,
  arch: Arch,
): readonly ReservedRegion[] {
  const { geometry } = kindOf(model);
  const outside: ReservedRegion[] = [];
  if (geometry && apertureStart > geometry.start)
    outside.push({ start: geometry.start, last: apertureStart - 1n, type: "reserved" });
  if (geometry && apertureLast < geometry.last)
    outside.push({ start: apertureLast + 1n, last: geometry.last, type: "reserved" });
  return mergeRegions(regionsOf(model, arch), outside);
}
