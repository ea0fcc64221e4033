import type { DeviceFile, HostFile } from "../host-schema.ts";
import { type IoMemory, lineUsers } from "./resources.ts";
import type { SourceTree } from "./source-tree.ts";

type PciFile = Exclude<DeviceFile, { uuid: string }>;
type BarFile = NonNullable<PciFile["bars"]>[number];

const BDF = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** include/linux/ioport.h. */
const IORESOURCE_IO = 0x100n;
const IORESOURCE_MEM = 0x200n;
const IORESOURCE_MEM_64 = 0x10_0000n;
const ROM = 6;
/** Firmware's copy, on the flags of the ROM. */
const IORESOURCE_ROM_SHADOW = 2n;
const EXPRESS_SIZE = 4096;
const CONVENTIONAL_SIZE = 256;
const PCI_INTERRUPT_PIN = 0x3d;

export interface DeviceSurroundings {
  readonly configSpace: boolean;
  readonly groupName: string | undefined;
  readonly io: IoMemory;
}

/** A device by its directory; undefined for what is neither a PCI function nor a mediated device. */
export function captureDevice(
  tree: SourceTree,
  at: string,
  name: string,
  { configSpace, groupName, io }: DeviceSurroundings,
): HostFile["groups"][number]["devices"] {
  if (UUID.test(name)) return [mediated(tree, at, name, groupName)];
  if (BDF.test(name)) return [pci(tree, at, name, configSpace, io)];
  return undefined;
}

function pci(tree: SourceTree, at: string, bdf: string, configSpace: boolean, io: IoMemory): PciFile {
  const id = (vendor: string, device: string) => ({
    vendor: tree.number(`${at}/${vendor}`) ?? 0,
    device: tree.number(`${at}/${device}`) ?? 0,
  });
  const config = configSpace ? wholeConfig(tree, at) : undefined;
  const driver = tree.linkName(`${at}/driver`);
  const resource = tree.text(`${at}/resource`) ?? "";
  return {
    bdf,
    id: id("vendor", "device"),
    class: tree.number(`${at}/class`),
    revision: tree.number(`${at}/revision`),
    subsystem_id: id("subsystem_vendor", "subsystem_device"),
    driver: driver ?? "",
    bars: bars(resource).map((bar) => withClaim(bar, io.claimant(bdf, startOf(resource, bar.index), driver))),
    ...facts(tree, at, bdf, config),
    ...(config && { config }),
  };
}

function withClaim(bar: BarFile, claimedBy: string | undefined): BarFile {
  return claimedBy === undefined ? bar : { ...bar, claimed_by: claimedBy };
}

/** What is said only of devices that have it. */
function facts(tree: SourceTree, at: string, bdf: string, config: Uint8Array | undefined): Partial<PciFile> {
  const physfn = tree.linkName(`${at}/physfn`);
  const total = tree.number(`${at}/sriov_totalvfs`);
  const node = tree.number(`${at}/numa_node`);
  const secondary = secondaryBus(tree, at);
  const isShadow = (romFlags(tree.text(`${at}/resource`) ?? "") & IORESOURCE_ROM_SHADOW) !== 0n;
  return {
    // firmware of s390 lets no more than 256 bytes through, whatever the device is
    ...(config === undefined && !tree.exists(`${at}/function_id`) && express(tree.size(`${at}/config`))),
    ...(physfn !== undefined && { physfn }),
    ...(physfn === undefined && total !== undefined && total > 0 && { sriov_totalvfs: total }),
    ...(secondary !== undefined && { secondary_bus: secondary }),
    ...(node !== undefined && { numa_node: node }),
    ...(isShadow && { rom: "shadow" as const }),
    ...interrupt(tree, at, bdf, config),
  };
}

/** The size of config space is for all to see, and tells which kind it is. */
function express(size: number | undefined): Pick<PciFile, "pcie"> {
  if (size === EXPRESS_SIZE) return { pcie: true };
  return size === CONVENTIONAL_SIZE ? { pcie: false } : {};
}

/** INTx, where the device has it: while it uses messages, a number of its own is not that of a line. */
function interrupt(tree: SourceTree, at: string, bdf: string, config: Uint8Array | undefined): Partial<PciFile> {
  const irq = tree.number(`${at}/irq`);
  if (irq === undefined || (irq !== 0 && (tree.list(`${at}/msi_irqs`) ?? []).length > 0)) return {};
  if (config && config[PCI_INTERRUPT_PIN] === 0) return {};
  const users = irq === 0 ? undefined : lineUsers(tree, irq, bdf, tree.linkName(`${at}/driver`));
  return { irq, ...(users !== undefined && { irq_shared_with: users }) };
}

/** The bus below a bridge: an attribute since 4.16, before it a directory beside the devices. */
function secondaryBus(tree: SourceTree, at: string): number | undefined {
  const number = tree.number(`${at}/secondary_bus_number`);
  if (number !== undefined) return number > 0 ? number : undefined;
  const name = (tree.list(`${at}/pci_bus`) ?? [])[0];
  const bus = name === undefined ? undefined : /^[0-9a-f]+:([0-9a-f]{2})$/.exec(name)?.[1];
  return bus === undefined ? undefined : Number.parseInt(bus, 16);
}

function startOf(resource: string, index: number): bigint {
  const word = resource.split("\n")[index]?.split(" ")[0] ?? "";
  return /^0x[0-9a-f]+$/.test(word) ? BigInt(word) : 0n;
}

function romFlags(resource: string): bigint {
  const word = resource.split("\n")[ROM]?.split(" ")[2] ?? "";
  return /^0x[0-9a-f]+$/.test(word) ? BigInt(word) : 0n;
}

/** The six BARs and the ROM: first and last byte and flags (drivers/pci/pci-sysfs.c: resource_show). */
function bars(text: string): BarFile[] {
  return text.split("\n").flatMap((line, index) => {
    const [start, last, flags] = line.split(" ").map((word) => (/^0x[0-9a-f]+$/.test(word) ? BigInt(word) : 0n));
    const size = (last ?? 0n) - (start ?? 0n) + 1n;
    const isMemory = ((flags ?? 0n) & IORESOURCE_MEM) !== 0n;
    const isIo = ((flags ?? 0n) & IORESOURCE_IO) !== 0n;
    // a size that is no power of two is a window of something else
    if (index > ROM || !(isMemory || isIo) || size <= 0n || (size & (size - 1n)) !== 0n) return [];
    const wide = ((flags ?? 0n) & IORESOURCE_MEM_64) !== 0n;
    const type = index === ROM ? "rom" : isIo ? "io" : wide ? "memory64" : "memory";
    return [{ index, size: Number(size), type } as const];
  });
}

/** The kernel shows others than root only the first 64 bytes. */
function wholeConfig(tree: SourceTree, at: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = tree.bytes(`${at}/config`);
  if (bytes?.length === 256 || bytes?.length === 4096) return Uint8Array.from(bytes);
  tree.miss("config space can be read as a whole only by root (left out)");
  return undefined;
}

function mediated(tree: SourceTree, at: string, uuid: string, groupName: string | undefined): DeviceFile {
  return {
    uuid,
    parent: tree.parentName(at) ?? "",
    type: tree.linkName(`${at}/mdev_type`) ?? "unknown",
    // VFIO makes a group of its own for what has no IOMMU (drivers/vfio/group.c)
    iommu_backed: groupName !== "vfio-noiommu",
    driver: tree.linkName(`${at}/driver`) ?? "",
  };
}
