import { findExtended } from "../devices/pci/capabilities.ts";
import { PCI_EXT_CAP_ID_SRIOV } from "../devices/pci/registers.ts";
import { pciDevices } from "./find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription, PciDeviceDescription } from "./host-description.ts";
import { canBeVirtualFunctionOf, isVirtualFunctionId, virtualFunctionOf } from "./known-virtual-functions.ts";

/**
 * A physical function and its virtual ones, by their routing ids (Single Root I/O Virtualization specification, 2.1.2).
 */
export interface PhysicalFunction {
  readonly device: PciDeviceDescription;
  /** In the order of their addresses. */
  readonly functions: readonly PciDeviceDescription[];
  /** TotalVFs. */
  readonly total: number;
  /** First VF Offset and VF Stride. */
  readonly offset: number;
  readonly stride: number;
  /** VF Device ID. */
  readonly vfDevice: number;
}

/** pci_regs.h: PCI_SRIOV_TOTAL_VF, _VF_OFFSET, _VF_STRIDE, _VF_DID. */
const TOTAL = 0x0e;
const OFFSET = 0x14;
const STRIDE = 0x16;
const VF_DEVICE = 0x1a;

/** What a recorded config space says of virtual functions; undefined when it says nothing. */
function sriovOf({
  config,
}: PciDeviceDescription): (NonNullable<PciDeviceDescription["sriov"]> & { readonly total: number }) | undefined {
  const at = config && findExtended(config, PCI_EXT_CAP_ID_SRIOV);
  if (config === undefined || at === undefined) return undefined;
  const word = (offset: number) => config[at + offset]! | (config[at + offset + 1]! << 8);
  return { total: word(TOTAL), offset: word(OFFSET), stride: word(STRIDE), vfDevice: word(VF_DEVICE) };
}

/** A function's 16-bit number on its segment: bus, slot, function. */
export function routingId(bdf: string): number {
  const [, bus, rest] = bdf.split(":");
  const [slot, fn] = rest!.split(".");
  return (Number.parseInt(bus!, 16) << 8) | (Number.parseInt(slot!, 16) << 3) | Number.parseInt(fn!, 16);
}

export function segmentOf(bdf: string): string {
  return bdf.slice(0, bdf.indexOf(":"));
}

/**
 * Says of which device a virtual function is one, where ids tell it: the nearest physical function before it whose
 * virtual functions have its ids. Without such a device it is one by itself, as it is in a guest that it was given to.
 */
export function withVirtualFunctions(groups: readonly GroupDescription[]): readonly GroupDescription[] {
  const isOne = (device: PciDeviceDescription) => (other: PciDeviceDescription) =>
    segmentOf(other.bdf) === segmentOf(device.bdf) &&
    routingId(other.bdf) < routingId(device.bdf) &&
    canBeVirtualFunctionOf(ids(device), ids(other));
  const known = new Set<number>();
  const mayBeOne = (device: DeviceDescription) => {
    if (device.bus !== "pci") return false;
    const number = device.vendor * 0x1_0000 + device.device;
    if (known.has(number)) return false;
    known.add(number);
    return isVirtualFunctionId(ids(device));
  };
  if (!groups.some(({ devices }) => devices.some(mayBeOne))) return groups;
  const all = groups.flatMap((group) => group.devices.filter((device) => device.bus === "pci"));
  const named = (device: DeviceDescription): DeviceDescription => {
    if (device.bus !== "pci" || device.physfn !== undefined || !isVirtualFunctionId(ids(device))) return device;
    const physical = all.filter(isOne(device)).sort((a, b) => routingId(b.bdf) - routingId(a.bdf))[0];
    return physical ? { ...device, physfn: physical.bdf } : device;
  };
  return groups.map((group) => ({ ...group, devices: group.devices.map(named) }));
}

const known = new WeakMap<HostDescription, ReadonlyMap<string, PhysicalFunction>>();

/** The physical functions of a host, by BDF. */
export function physicalFunctions(host: HostDescription): ReadonlyMap<string, PhysicalFunction> {
  let found = known.get(host);
  if (!found) {
    found = findPhysical(pciDevices(host));
    known.set(host, found);
  }
  return found;
}

function findPhysical(all: readonly PciDeviceDescription[]): ReadonlyMap<string, PhysicalFunction> {
  const of = new Map<string, PciDeviceDescription[]>();
  for (const device of all) {
    if (device.physfn === undefined) continue;
    const functions = of.get(device.physfn) ?? [];
    functions.push(device);
    of.set(device.physfn, functions);
  }
  const found = new Map<string, PhysicalFunction>();
  for (let at = 0; at < all.length; at++) {
    const device = all[at]!;
    const recorded = device.config && sriovOf(device);
    if (!of.has(device.bdf) && device.sriovTotalVfs === undefined && !recorded?.total) continue;
    const functions = [...(of.get(device.bdf) ?? [])].sort((a, b) => routingId(a.bdf) - routingId(b.bdf));
    const known = device.sriov ?? recorded;
    const [first, second] = functions.map(({ bdf }) => routingId(bdf));
    const offset = first === undefined ? (known?.offset ?? 1) : first - routingId(device.bdf);
    const stride = second === undefined ? (known?.stride ?? 1) : second - first!;
    const last = functions.at(-1);
    const used = last && first !== undefined ? Math.floor((routingId(last.bdf) - first) / stride) + 1 : 0;
    const total = Math.max(device.sriovTotalVfs ?? recorded?.total ?? 0, used);
    const vfDevice = functions[0]?.device ?? known?.vfDevice ?? virtualFunctionOf(ids(device)) ?? device.device;
    found.set(device.bdf, { device, functions, offset, stride, total, vfDevice });
  }
  return found;
}

function ids({ vendor, device }: PciDeviceDescription): string {
  return `${hex4(vendor)}:${hex4(device)}`;
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}
