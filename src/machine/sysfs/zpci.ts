import type { PciBar, ZpciDescription } from "../../devices/description.ts";
import type { HostDescription, PciDeviceDescription } from "../host-description.ts";
import type { SysfsActions } from "./sysfs-state.ts";
import { READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

/** Offsets and bits in config space (include/uapi/linux/pci_regs.h). */
const PCI_CAPABILITY_LIST = 0x34;
const PCI_CAP_ID_PM = 0x01;
const PCI_CAP_ID_EXP = 0x10;
const PCI_PM_CTRL = 4;
const PCI_PM_CTRL_NO_SOFT_RESET = 8;
const PCI_EXP_DEVCAP_FLR_BYTE = 7;
const PCI_EXP_DEVCAP_FLR = 0x10;
const PCI_EXP_LNKCAP = 12;
const PCI_EXP_LNKSTA = 18;
const SPEEDS = ["Unknown", "2.5 GT/s PCIe", "5.0 GT/s PCIe", "8.0 GT/s PCIe", "16.0 GT/s PCIe", "32.0 GT/s PCIe"];
const UTIL_BYTES = 64;
const VIRTIO = 0x1af4;
const RESOURCE_LINES = 13;
/**
 * Where BARs are said to be: no bus addresses but cookies, one for each BAR of the machine (arch/s390/pci/pci.c:
 * ZPCI_IOMAP_ADDR_BASE).
 */
const FIRST_COOKIE = 0x4000_0000_0000_0000n;
const COOKIE_STEP = 0x1_0000_0000_0000n;
/** IORESOURCE_MEM and _SIZEALIGN; _MEM_64 and the bits of a 64-bit BAR; _PREFETCH. */
const RESOURCE_MEM = 0x40200;
const RESOURCE_MEM_64 = 0x10_0004;
const RESOURCE_PREFETCH = 0x2008;

/** Files of a function on s390 (arch/s390/pci/pci_sysfs.c), and those of all PCI functions that were recorded there. */
export function addZpciFiles(
  tree: TreeBuilder,
  device: PciDeviceDescription,
  config: Uint8Array,
  at: string,
  actions: SysfsActions | undefined,
): void {
  const zpci = device.zpci!;
  const { functionId, functionHandle, uid } = zpci;
  tree.line(`${at}/function_id`, hex(functionId, 8));
  tree.line(`${at}/function_handle`, hex(functionHandle, 8));
  tree.line(`${at}/uid`, hex(uid, 1));
  tree.line(`${at}/uid_is_unique`, "1");
  tree.line(`${at}/index`, String(uid));
  tree.line(`${at}/pchid`, hex(zpci.pchid, 4));
  tree.line(`${at}/pfgid`, hex(zpci.group.id, 2));
  tree.line(`${at}/pft`, hex(zpci.pft, 2));
  tree.line(`${at}/vfn`, hex(zpci.vfn, 4));
  tree.line(`${at}/port`, String(zpci.port));
  tree.line(`${at}/mio_enabled`, "0");
  for (let segment = 0; segment < 4; segment++)
    tree.line(`${at}/pfip/segment${segment}`, hex((zpci.pfip >>> (24 - 8 * segment)) & 0xff, 2));
  tree.file(`${at}/util_string`, zpci.utilString ?? new Uint8Array(UTIL_BYTES));
  tree.trigger(`${at}/recover`, actions && ((text) => actions.recover(device.bdf, text)));
  tree.trigger(`${at}/report_error`);
  tree.trigger(`${at}/remove`, actions && ((text) => actions.remove(device.bdf, text)));
  tree.trigger(`${at}/rescan`, actions && ((text) => actions.rescan(text)));
  tree.trigger(`${at}/reset`, actions && ((text) => actions.reset(device.bdf, text)));
  addPciFiles(tree, device, config, at);
}

function addPciFiles(tree: TreeBuilder, device: PciDeviceDescription, config: Uint8Array, at: string): void {
  // a virtio driver has asked for 64 bits before vfio-pci got the function
  const maskBits = device.vendor === VIRTIO ? "64" : "32";
  tree.line(`${at}/dma_mask_bits`, maskBits);
  tree.line(`${at}/consistent_dma_mask_bits`, maskBits);
  tree.line(`${at}/ari_enabled`, "0");
  tree.line(`${at}/broken_parity_status`, "0", READ_WRITE);
  tree.line(`${at}/local_cpulist`, "0");
  tree.line(`${at}/local_cpus`, "1");
  tree.line(`${at}/msi_bus`, "1", READ_WRITE);
  tree.line(`${at}/power_state`, "D0");
  tree.line(`${at}/reset_method`, resetMethods(config).join(" "), READ_WRITE);
  tree.directory(`${at}/msi_irqs`);
  tree.directory(`${at}/link`);
  const express = findCapability(config, PCI_CAP_ID_EXP);
  if (express !== undefined) {
    addLink(tree, `${at}/current`, config, express + PCI_EXP_LNKSTA);
    addLink(tree, `${at}/max`, config, express + PCI_EXP_LNKCAP);
  }
  if (device.zpci!.resource?.[6]?.startsWith("0x0000000000000000 0x0000000000000000") === false)
    tree.file(`${at}/rom`, "", READ_WRITE);
}

/** Speed and width stand in the same bits of the link's abilities and of its state. */
function addLink(tree: TreeBuilder, prefix: string, config: Uint8Array, at: number): void {
  const word = config[at]! | (config[at + 1]! << 8);
  tree.line(`${prefix}_link_speed`, SPEEDS[word & 0xf] ?? "Unknown");
  tree.line(`${prefix}_link_width`, String((word >>> 4) & 0x3f));
}

/**
 * In the order in which they are tried (drivers/pci/pci.c: pci_reset_fn_methods). The slot of a function counts as its
 * bus.
 */
function resetMethods(config: Uint8Array): string[] {
  const methods: string[] = [];
  const express = findCapability(config, PCI_CAP_ID_EXP);
  if (express !== undefined && config[express + PCI_EXP_DEVCAP_FLR_BYTE]! & PCI_EXP_DEVCAP_FLR) methods.push("flr");
  const power = findCapability(config, PCI_CAP_ID_PM);
  if (power !== undefined && !(config[power + PCI_PM_CTRL]! & PCI_PM_CTRL_NO_SOFT_RESET)) methods.push("pm");
  return [...methods, "bus"];
}

function findCapability(config: Uint8Array, id: number): number | undefined {
  let at = config[PCI_CAPABILITY_LIST]!;
  for (let steps = 0; at >= 0x40 && steps < 48; steps++) {
    if (config[at] === id) return at;
    at = config[at + 1]!;
  }
  return undefined;
}

/** /sys/bus/pci/slots: a slot for each function, by its id. */
export function addZpciSlot(
  tree: TreeBuilder,
  { functionId }: ZpciDescription,
  bdf: string,
  actions: SysfsActions | undefined,
): void {
  const at = slotPath(functionId);
  tree.live(
    `${at}/power`,
    READ_WRITE,
    () => `${actions?.slotPower(bdf) ?? "1"}\n`,
    actions && ((text) => actions.setSlotPower(bdf, text)),
  );
  tree.line(`${at}/address`, bdf.slice(0, bdf.lastIndexOf(".")));
}

function slotPath(functionId: number): string {
  return `/sys/bus/pci/slots/${digits(functionId, 8)}`;
}

/** The `resource` file: as recorded, or with the cookies that the kernel gives to the machine's BARs in order. */
export function zpciResources(host: HostDescription, device: PciDeviceDescription, config: Uint8Array): string {
  return `${(device.zpci!.resource ?? cookies(host, device, config)).join("\n")}\n`;
}

function cookies(host: HostDescription, device: PciDeviceDescription, config: Uint8Array): readonly string[] {
  const lines: string[] = new Array(RESOURCE_LINES).fill(line(0n, 0n, 0));
  let cookie = FIRST_COOKIE;
  for (const other of host.groups.flatMap(({ devices }) => devices)) {
    if (other.bus !== "pci") continue;
    for (const bar of other.bars) {
      if (other === device) lines[bar.index] = line(cookie, cookie + BigInt(bar.size) - 1n, flagsOf(bar, config));
      cookie += COOKIE_STEP;
    }
  }
  return lines;
}

function flagsOf({ type, index }: PciBar, config: Uint8Array): number {
  const prefetch = config[0x10 + 4 * index]! & 8 ? RESOURCE_PREFETCH : 0;
  return RESOURCE_MEM | (type === "memory64" ? RESOURCE_MEM_64 : 0) | prefetch;
}

function line(start: bigint, last: bigint, flags: number): string {
  return `${hex(start, 16)} ${hex(last, 16)} ${hex(flags, 16)}`;
}

function hex(value: number | bigint, length: number): string {
  return `0x${digits(value, length)}`;
}

function digits(value: number | bigint, length: number): string {
  return value.toString(16).padStart(length, "0");
}
