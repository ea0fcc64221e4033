import { isBridge } from "../devices/description.ts";
import { generic } from "../devices/kinds/generic.ts";
import { DEVICE_KINDS } from "../devices/kinds.ts";
import { allDevices, deviceName, type FoundDevice } from "../machine/find-device.ts";
import type { DeviceDescription, HostDescription } from "../machine/host-description.ts";
import { wantedDriver } from "../machine/refused-driver.ts";
import { isNoIommuModeOn } from "../machine/without-iommu.ts";

/** Names of classes as lspci has them, by base class and subclass; base classes alone are behind them. */
const CLASSES: Readonly<Record<string, string>> = {
  "0100": "SCSI storage",
  "0101": "IDE interface",
  "0104": "RAID controller",
  "0106": "SATA controller",
  "0107": "SAS controller",
  "0108": "NVMe controller",
  "0200": "Ethernet controller",
  "0207": "InfiniBand controller",
  "0280": "Network controller",
  "0300": "VGA controller",
  "0302": "3D controller",
  "0380": "Display controller",
  "0403": "Audio device",
  "0600": "Host bridge",
  "0601": "ISA bridge",
  "0604": "PCI bridge",
  "0880": "System peripheral",
  "0c03": "USB controller",
  "0c05": "SMBus",
  "1200": "Processing accelerator",
};
const BASES: Readonly<Record<string, string>> = {
  "00": "Unclassified device",
  "01": "Mass storage controller",
  "02": "Network controller",
  "03": "Display controller",
  "04": "Multimedia controller",
  "05": "Memory controller",
  "06": "Bridge",
  "07": "Communication controller",
  "08": "System peripheral",
  "0b": "Processor",
  "0c": "Serial bus controller",
  "0d": "Wireless controller",
  "10": "Encryption controller",
  "11": "Signal processing controller",
  "12": "Processing accelerator",
};

type Row = readonly [address: string, group: string, driver: string, device: string, model: string];
const HEAD: Row = ["ADDRESS", "GROUP", "DRIVER", "DEVICE", "MODEL"];

/** The devices of a host at a glance, a line each, and what stands behind them. */
export function hostTable(host: HostDescription): string {
  const rows = allDevices(host).map((found) => rowOf(host, found));
  const lines = [title(host), ""];
  if (rows.length === 0) return `${[...lines, "It has no devices."].join("\n")}\n`;
  const all = [HEAD, ...rows];
  const widths = HEAD.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  for (const row of all)
    lines.push(
      row
        .map((text, column) => text.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    );
  return `${lines.join("\n")}\n`;
}

function title({ name, description, kernel, arch, iommu }: HostDescription): string {
  const facts = `Linux ${kernel}, ${arch}, ${iommu.model === "none" ? "no IOMMU" : iommu.model}`;
  return `${name}: ${description === "" ? facts : `${description} (${facts})`}`;
}

function rowOf(host: HostDescription, { device, group }: FoundDevice): Row {
  const groupText = group.noIommu ? (isNoIommuModeOn(host) ? `noiommu-${group.id}` : "none") : String(group.id);
  return [deviceName(device), groupText, driverText(device), deviceText(device), modelText(device)];
}

function driverText(device: DeviceDescription): string {
  if (device.driver !== null) return device.driver;
  const wanted = device.bus === "pci" ? wantedDriver(device) : null;
  return wanted === null ? "-" : `- (not ${wanted}: refused)`;
}

function deviceText(device: DeviceDescription): string {
  const name = device.name === "" ? "" : `: ${device.name}`;
  if (device.bus === "mdev") return `Mediated device${name} (${device.type} of ${device.parent})`;
  const virtual = device.physfn === undefined ? "" : `, VF of ${device.physfn}`;
  return `${className(device.class)}${name} [${hex4(device.vendor)}:${hex4(device.device)}]${virtual}`;
}

/** What a program finds when it uses the device. */
function modelText(device: DeviceDescription): string {
  if (device.bus === "pci" && isBridge(device)) return "-";
  if (device.model === generic.model) return "registers are plain memory";
  const isAtRest = device.bus === "pci" && DEVICE_KINDS.pciKind(device.model).atRest;
  return isAtRest ? `as after reset, does nothing (${device.model})` : `works (${device.model})`;
}

function className(code: number): string {
  const digits = code.toString(16).padStart(6, "0");
  return CLASSES[digits.slice(0, 4)] ?? BASES[digits.slice(0, 2)] ?? `Class ${digits.slice(0, 4)}`;
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}
