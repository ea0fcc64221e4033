import type { DeviceFile, HostFile } from "../host-schema.ts";
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

/** A device by its directory; undefined for what is neither a PCI function nor a mediated device. */
export function captureDevice(
  tree: SourceTree,
  at: string,
  name: string,
  { configSpace, groupName }: { readonly configSpace: boolean; readonly groupName: string | undefined },
): HostFile["groups"][number]["devices"] {
  if (UUID.test(name)) return [mediated(tree, at, name, groupName)];
  if (BDF.test(name)) return [pci(tree, at, name, configSpace)];
  return undefined;
}

function pci(tree: SourceTree, at: string, bdf: string, configSpace: boolean): PciFile {
  const id = (vendor: string, device: string) => ({
    vendor: tree.number(`${at}/${vendor}`) ?? 0,
    device: tree.number(`${at}/${device}`) ?? 0,
  });
  const config = configSpace ? wholeConfig(tree, at) : undefined;
  return {
    bdf,
    id: id("vendor", "device"),
    class: tree.number(`${at}/class`),
    revision: tree.number(`${at}/revision`),
    subsystem_id: id("subsystem_vendor", "subsystem_device"),
    driver: tree.linkName(`${at}/driver`) ?? "",
    bars: bars(tree.text(`${at}/resource`) ?? ""),
    ...(config && { config }),
  };
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
