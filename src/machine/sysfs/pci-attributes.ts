import { availableParallelism } from "node:os";
import { isBridge, type PlacedBar } from "../../devices/description.ts";
import { findCapability, findExtended } from "../../devices/pci/capabilities.ts";
import { bridgesOf } from "../bridges.ts";
import { isVfioDriver } from "../device-nodes.ts";
import type { HostDescription, PciDeviceDescription } from "../host-description.ts";
import { type PhysicalFunction, physicalFunctions } from "../virtual-functions.ts";
import { devicePath } from "./device-path.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { OWNER_ONLY, READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

/** <linux/pci_regs.h>. */
const CAP_PM = 0x01;
const CAP_EXPRESS = 0x10;
const CAP_AF = 0x13;
const EXT_ARI = 0x0e;
const EXT_AER = 0x01;
const PM_CONTROL = 4;
const PM_NO_SOFT_RESET = 0x8;
const EXPRESS_DEVICE = 4;
const EXPRESS_FLR = 0x1000_0000;
const EXPRESS_LINK = 0x0c;
const EXPRESS_LINK_STATUS = 0x12;
const AF_CAPABILITIES = 3;
const AF_FLR = 3;
const VGA = 0x0300;

/** drivers/pci/pcie/aer.c: aer_correctable_error_string, aer_uncorrectable_error_string. */
const CORRECTABLE = "RxErr BadTLP BadDLLP Rollover Timeout NonFatalErr CorrIntErr HeaderOF".split(" ");
const UNCORRECTABLE = (
  "Undefined DLP SDES TLP FCP CmpltTO CmpltAbrt UnxCmplt RxOF MalfTLP ECRC UnsupReq ACSViol UncorrIntErr BlockedTLP AtomicOpBlocked " +
  "TLPBlockedErr PoisonTLPBlocked DMWrReqBlocked IDECheck MisIDETLP PCRC_CHECK TLPXlatBlocked"
).split(" ");
const ERROR_COUNTS = [
  ["correctable", CORRECTABLE, "TOTAL_ERR_COR"],
  ["fatal", UNCORRECTABLE, "TOTAL_ERR_FATAL"],
  ["nonfatal", UNCORRECTABLE, "TOTAL_ERR_NONFATAL"],
] as const;

/** By the number of PCI_EXP_LNKCAP_SLS (drivers/pci/probe.c:pci_speed_string). */
const SPEEDS = ["Unknown", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"] as const;

/**
 * Attributes beside the identity of a device (drivers/pci/pci-sysfs.c, iov.c): what lspci, driverctl, libvirt and udev
 * look at. The resource files have the size of their BARs and are memory that leads nowhere.
 */
export function addPciAttributes(
  tree: TreeBuilder,
  host: HostDescription,
  device: PciDeviceDescription,
  {
    config,
    above,
    bars,
    state,
  }: {
    readonly config: Uint8Array;
    /** Of the physical function, when this is a virtual one. */
    readonly above: Uint8Array | undefined;
    readonly bars: readonly PlacedBar[];
    readonly state: SysfsState;
  },
): void {
  const { actions } = state;
  const at = devicePath(host, device);
  const isVirtual = device.physfn !== undefined;
  for (const { index, type, size, address } of bars) {
    if (address === 0n) continue;
    const name = index === 6 ? "rom" : `resource${index}`;
    tree.sparse(`${at}/${name}`, size, OWNER_ONLY);
    if (isVirtual && type === "memory64") tree.sparse(`${at}/${name}_wc`, size, OWNER_ONLY);
  }
  addPower(tree, at, { isVirtual, isVfio: isVfioDriver(state.driverOf(device.bdf) ?? null) }, config);
  tree.line(`${at}/broken_parity_status`, "0", READ_WRITE);
  addErrorCounts(tree, at, config);
  tree.line(`${at}/local_cpus`, cpuMask(availableParallelism()));
  tree.line(`${at}/local_cpulist`, cpuList(availableParallelism()));
  tree.line(`${at}/msi_bus`, "1", READ_WRITE);
  tree.line(`${at}/dma_mask_bits`, "32");
  tree.line(`${at}/consistent_dma_mask_bits`, "32");
  // a virtual function shares its physical one's link and place
  const place = above ?? config;
  tree.line(`${at}/ari_enabled`, findExtended(place, EXT_ARI) === undefined ? "0" : "1");
  addLink(tree, at, place);
  addResets(tree, host, device, config, actions);
  if (!isVirtual) {
    tree.trigger(`${at}/remove`, actions && ((text) => actions.remove(device.bdf, text)));
    tree.trigger(`${at}/rescan`, actions && ((text) => actions.rescan(text)));
  }
  if (isBridge(device)) addBuses(tree, host, device);
  if (device.class >>> 8 === VGA) tree.line(`${at}/boot_vga`, bootVga(host) === device.bdf ? "1" : "0");
  if (isVirtual) tree.link(`${at}/physfn`, pathOf(host, device.physfn));
  const physical = physicalFunctions(host).get(device.bdf);
  if (physical) addSriov(tree, host, physical, actions);
}

/** vfio-pci lets a device that nobody has open sleep (vfio_pci_core.c, disable_idle_d3). */
function addPower(
  tree: TreeBuilder,
  at: string,
  { isVirtual, isVfio }: { readonly isVirtual: boolean; readonly isVfio: boolean },
  config: Uint8Array,
): void {
  // a virtual function has no power management of its own
  const sleeps = isVfio && !isVirtual && findCapability(config, CAP_PM) !== undefined;
  tree.line(`${at}/power_state`, sleeps ? "D3hot" : "D0");
  tree.line(`${at}/d3cold_allowed`, isVirtual ? "0" : "1", READ_WRITE);
  tree.line(`${at}/power/control`, isVfio ? "auto" : "on", READ_WRITE);
  tree.line(`${at}/power/runtime_status`, isVfio ? "suspended" : "active");
}

/** What went wrong on the link so far (drivers/pci/pcie/aer.c: aer_stats_attrs): nothing. */
function addErrorCounts(tree: TreeBuilder, at: string, config: Uint8Array): void {
  if (findExtended(config, EXT_AER) === undefined) return;
  for (const [name, errors, total] of ERROR_COUNTS)
    tree.line(`${at}/aer_dev_${name}`, [...errors, total].map((error) => `${error} 0`).join("\n"));
}

function addLink(tree: TreeBuilder, at: string, config: Uint8Array): void {
  const express = findCapability(config, CAP_EXPRESS);
  if (express === undefined) return;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const most = view.getUint32(express + EXPRESS_LINK, true);
  const now = view.getUint16(express + EXPRESS_LINK_STATUS, true);
  for (const [name, link] of [
    ["max", most],
    ["current", now],
  ] as const) {
    const speed = SPEEDS[link & 0xf];
    tree.line(
      `${at}/${name}_link_speed`,
      speed === undefined || speed === "Unknown" ? "Unknown" : `${speed} GT/s PCIe`,
    );
    tree.line(`${at}/${name}_link_width`, String((link >> 4) & 0x3f));
  }
}

/** drivers/pci/pci.c: pci_reset_fn_methods, in their order. */
function addResets(
  tree: TreeBuilder,
  host: HostDescription,
  device: PciDeviceDescription,
  config: Uint8Array,
  actions: SysfsState["actions"],
): void {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const express = findCapability(config, CAP_EXPRESS);
  const advanced = findCapability(config, CAP_AF);
  const power = findCapability(config, CAP_PM);
  const hasFlr = express !== undefined && (view.getUint32(express + EXPRESS_DEVICE, true) & EXPRESS_FLR) !== 0;
  const methods = [
    ...(hasFlr ? ["flr"] : []),
    ...(advanced !== undefined && (config[advanced + AF_CAPABILITIES]! & AF_FLR) === AF_FLR ? ["af_flr"] : []),
    ...(power !== undefined && !(config[power + PM_CONTROL]! & PM_NO_SOFT_RESET) && device.physfn === undefined
      ? ["pm"]
      : []),
    ...(isAloneBelowBridge(host, device) ? ["bus"] : []),
  ];
  if (methods.length === 0) return;
  const at = devicePath(host, device);
  tree.line(`${at}/reset_method`, methods.join(" "), READ_WRITE);
  tree.trigger(`${at}/reset`, actions && ((text) => actions.reset(device.bdf, text)));
}

function isAloneBelowBridge(host: HostDescription, device: PciDeviceDescription): boolean {
  if (device.physfn !== undefined || isBridge(device)) return false;
  const path = devicePath(host, device);
  const bus = path.slice(0, path.lastIndexOf("/"));
  if (/\/pci[0-9a-f]+:[0-9a-f]+$/.test(bus)) return false;
  return functionsOn(host).get(bus) === 1;
}

const counted = new WeakMap<HostDescription, ReadonlyMap<string, number>>();

/** How many functions each bus has, by its directory. */
function functionsOn(host: HostDescription): ReadonlyMap<string, number> {
  let found = counted.get(host);
  if (!found) {
    const counts = new Map<string, number>();
    for (const group of host.groups)
      for (const device of group.devices) {
        if (device.bus !== "pci") continue;
        const path = devicePath(host, device);
        const bus = path.slice(0, path.lastIndexOf("/"));
        counts.set(bus, (counts.get(bus) ?? 0) + 1);
      }
    found = counts;
    counted.set(host, found);
  }
  return found;
}

function addBuses(tree: TreeBuilder, host: HostDescription, bridge: PciDeviceDescription): void {
  const { busBelow, lastBusBelow } = bridgesOf(host);
  const secondary = busBelow.get(bridge.bdf) ?? bridge.secondaryBus ?? 0;
  const at = devicePath(host, bridge);
  tree.line(`${at}/secondary_bus_number`, String(secondary));
  tree.line(`${at}/subordinate_bus_number`, String(lastBusBelow.get(bridge.bdf) ?? secondary));
}

function addSriov(
  tree: TreeBuilder,
  host: HostDescription,
  physical: PhysicalFunction,
  actions: SysfsState["actions"],
): void {
  const { device, functions, total, offset, stride, vfDevice } = physical;
  const at = devicePath(host, device);
  tree.line(`${at}/sriov_totalvfs`, String(total));
  tree.live(
    `${at}/sriov_numvfs`,
    READ_WRITE,
    () => `${functions.length}\n`,
    actions && ((text) => actions.setFunctions(device.bdf, text)),
  );
  tree.line(`${at}/sriov_offset`, String(offset));
  tree.line(`${at}/sriov_stride`, String(stride));
  tree.line(`${at}/sriov_vf_device`, vfDevice.toString(16).padStart(4, "0"));
  tree.line(`${at}/sriov_vf_total_msix`, "0");
  tree.live(
    `${at}/sriov_drivers_autoprobe`,
    READ_WRITE,
    () => (actions?.functionsAutoprobe(device.bdf) === false ? "0\n" : "1\n"),
    actions && ((text) => actions.setFunctionsAutoprobe(device.bdf, text)),
  );
  for (const [index, { bdf }] of functions.entries()) tree.link(`${at}/virtfn${index}`, pathOf(host, bdf));
}

function pathOf(host: HostDescription, bdf: string | undefined): string {
  for (const group of host.groups)
    for (const device of group.devices) if (device.bus === "pci" && device.bdf === bdf) return devicePath(host, device);
  throw new Error(`${bdf} is no device of ${host.name}`);
}

/** The display that firmware has used: the first. */
function bootVga(host: HostDescription): string | undefined {
  for (const group of host.groups)
    for (const device of group.devices) if (device.bus === "pci" && device.class >>> 8 === VGA) return device.bdf;
  return undefined;
}

/** A bitmap of processors as the kernel prints it: 32 bits a word, the highest first. */
function cpuMask(count: number): string {
  const words: string[] = [];
  for (let left = count; left > 0; left -= 32) {
    const bits = Math.min(left, 32);
    const word = bits === 32 ? 0xffff_ffff : 2 ** bits - 1;
    words.unshift(word.toString(16).padStart(left > 32 ? 8 : Math.ceil(bits / 4), "0"));
  }
  return words.join(",");
}

function cpuList(count: number): string {
  return count === 1 ? "0" : `0-${count - 1}`;
}
