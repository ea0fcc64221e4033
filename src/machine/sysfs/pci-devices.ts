import { isBridge, type PciBar } from "../../devices/description.ts";
import type { DeviceKinds } from "../../devices/kinds.ts";
import { isVfioDriver } from "../device-nodes.ts";
import { allDevices } from "../find-device.ts";
import type { GroupDescription, HostDescription, PciDeviceDescription } from "../host-description.ts";
import { configSpace, placedBars } from "../pci-config.ts";
import { wantedDriver } from "../refused-driver.ts";
import { physicalFunctions } from "../virtual-functions.ts";
import { isGroupThere } from "./boot-state.ts";
import { devicePath } from "./device-path.ts";
import { addPciAttributes } from "./pci-attributes.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { READ_WRITE, type TreeBuilder } from "./tree-builder.ts";
import { addZpciFiles, addZpciSlot, zpciResources } from "./zpci.ts";

/**
 * Drivers that hosts have loaded although nothing is bound to them: what devices are given to on their way from one
 * driver to another.
 */
const LOADED_DRIVERS = ["vfio-pci", "pci-stub", "uio_pci_generic"];

/** Drivers that kernels have built in, as a rule: no module. */
const BUILT_IN: ReadonlySet<string> = new Set(["pci-stub", "pcieport", "shpchp"]);

/** /sys/bus/pci without the devices. */
export function addPciBus(tree: TreeBuilder, host: HostDescription, { actions }: SysfsState): void {
  tree.directory("/sys/bus/pci/devices");
  tree.directory("/sys/bus/pci/slots");
  tree.live(
    "/sys/bus/pci/drivers_autoprobe",
    READ_WRITE,
    () => (actions?.autoprobe === false ? "0\n" : "1\n"),
    actions &&
      ((text) => {
        // bus.c:drivers_autoprobe_store looks at the first character only
        actions.autoprobe = text[0] !== "0";
      }),
  );
  tree.trigger("/sys/bus/pci/drivers_probe", actions && ((text) => actions.probe(text)));
  tree.trigger("/sys/bus/pci/rescan", actions && ((text) => actions.rescan(text)));
  tree.trigger("/sys/bus/pci/uevent");
  for (const driver of pciDrivers(host)) addDriver(tree, driver, actions);
  for (const { device } of allDevices(host))
    if (device.bus === "pci" && device.zpci) addZpciSlot(tree, device.zpci, device.bdf, actions);
}

/** The PCI drivers that the host has loaded. */
export function pciDrivers(host: HostDescription): ReadonlySet<string> {
  const drivers = new Set(LOADED_DRIVERS);
  for (const { device } of allDevices(host)) {
    const driver = device.bus === "pci" ? wantedDriver(device) : null;
    if (driver !== null) drivers.add(driver);
  }
  return drivers;
}

/** A device, its place on the bus, and the driver that has it. */
export function addPciDevice(
  tree: TreeBuilder,
  host: HostDescription,
  { device, group }: { readonly device: PciDeviceDescription; readonly group: GroupDescription },
  state: SysfsState,
  kinds: DeviceKinds,
): void {
  const at = devicePath(host, device);
  addFiles(tree, host, device, at, state, kinds);
  if (isGroupThere(group, state)) tree.link(`${at}/iommu_group`, `/sys/kernel/iommu_groups/${group.id}`);
  tree.link(`/sys/bus/pci/devices/${device.bdf}`, at);
  const driver = state.driverOf(device.bdf);
  if (driver === undefined) return;
  tree.link(`${at}/driver`, driverPath(driver));
  tree.link(`${driverPath(driver)}/${device.bdf}`, at);
}

function driverPath(driver: string): string {
  return `/sys/bus/pci/drivers/${driver}`;
}

/** Module names have no hyphens. */
function moduleOfDriver(driver: string): string {
  return driver.replaceAll("-", "_");
}

function addDriver(tree: TreeBuilder, driver: string, actions: SysfsState["actions"]): void {
  const at = driverPath(driver);
  tree.trigger(`${at}/bind`, actions && ((text) => actions.bind(driver, text)));
  tree.trigger(`${at}/unbind`, actions && ((text) => actions.unbind(driver, text)));
  tree.trigger(`${at}/new_id`, actions && ((text) => actions.addId(driver, text)));
  tree.trigger(`${at}/remove_id`, actions && ((text) => actions.removeId(driver, text)));
  tree.trigger(`${at}/uevent`);
  if (BUILT_IN.has(driver)) return;
  // Most modules are called as their driver is.
  const module = `/sys/module/${moduleOfDriver(driver)}`;
  tree.link(`${at}/module`, module);
  tree.link(`${module}/drivers/pci:${driver}`, at);
  if (driver !== "vfio-pci") tree.line(`${module}/initstate`, "live");
}

function addFiles(
  tree: TreeBuilder,
  host: HostDescription,
  device: PciDeviceDescription,
  at: string,
  state: SysfsState,
  kinds: DeviceKinds,
): void {
  const config = configSpace(host, device, kinds);
  const { actions } = state;
  const driver = state.driverOf(device.bdf);
  tree.link(`${at}/subsystem`, "/sys/bus/pci");
  tree.line(`${at}/vendor`, hex(device.vendor, 4));
  tree.line(`${at}/device`, hex(device.device, 4));
  tree.line(`${at}/subsystem_vendor`, hex(device.subsystemVendor, 4));
  tree.line(`${at}/subsystem_device`, hex(device.subsystemDevice, 4));
  tree.line(`${at}/class`, hex(device.class, 6));
  tree.line(`${at}/revision`, hex(device.revision, 2));
  tree.live(`${at}/config`, READ_WRITE, () => actions?.config(device.bdf) ?? config);
  tree.file(`${at}/resource`, device.zpci ? zpciResources(host, device, config) : resources(host, device));
  tree.line(`${at}/irq`, String(device.irq ?? interruptLine(config)));
  // No node: these hosts have one memory. On s390 there are none at all.
  if (!device.zpci) tree.line(`${at}/numa_node`, String(device.numaNode ?? -1), READ_WRITE);
  // How often it was enabled: vfio-pci does that when the device is opened, host drivers when they are bound.
  tree.line(`${at}/enable`, driver !== undefined && !isVfioDriver(driver) ? "1" : "0", READ_WRITE);
  tree.live(
    `${at}/driver_override`,
    READ_WRITE,
    () => `${state.overrideOf(device.bdf) ?? "(null)"}\n`,
    actions && ((text) => actions.override(device.bdf, text)),
  );
  tree.line(`${at}/modalias`, modalias(device));
  tree.file(`${at}/uevent`, uevent(device, driver), READ_WRITE);
  if (device.zpci) addZpciFiles(tree, device, config, at, actions);
  else {
    const bars = isBridge(device) ? [] : placedBars(host, device);
    const physical = pciDeviceAt(host, device.physfn);
    const above = physical && configSpace(host, physical, kinds);
    addPciAttributes(tree, host, device, { config, above, bars, state });
  }
}

function pciDeviceAt(host: HostDescription, bdf: string | undefined): PciDeviceDescription | undefined {
  if (bdf === undefined) return undefined;
  const found = allDevices(host).find(({ device }) => device.bus === "pci" && device.bdf === bdf)?.device;
  return found?.bus === "pci" ? found : undefined;
}

/** 0xff means not connected; Linux has no interrupt 0 for devices either. */
function interruptLine(config: Uint8Array): number {
  const line = config[0x3c]!;
  return line === 0xff || config[0x3d] === 0 ? 0 : line;
}

/**
 * drivers/pci/pci-sysfs.c: resource_show prints start, end and IORESOURCE_* flags of the six BARs, the ROM and the six
 * BARs of virtual functions, and for bridges their four windows.
 */
function resources(host: HostDescription, device: PciDeviceDescription): string {
  const lines: string[] = new Array(isBridge(device) ? 17 : 13).fill(resourceLine(0n, 0n, 0));
  if (!isBridge(device))
    // A ROM that firmware did not place has no resource.
    for (const bar of placedBars(host, device))
      if (bar.address !== 0n)
        lines[bar.index] = resourceLine(bar.address, bar.address + BigInt(bar.size) - 1n, flagsOf(device, bar));
  const physical = physicalFunctions(host).get(device.bdf);
  const first = physical?.functions[0];
  for (const bar of first ? placedBars(host, first) : [])
    lines[FIRST_VF_RESOURCE + bar.index] = resourceLine(
      bar.address,
      bar.address + BigInt(bar.size * physical!.functions.length) - 1n,
      flagsOf(first!, bar),
    );
  return `${lines.join("\n")}\n`;
}

function resourceLine(start: bigint, last: bigint, flags: number): string {
  return `${hex(start, 16)} ${hex(last, 16)} ${hex(flags, 16)}`;
}

/**
 * include/linux/ioport.h: IORESOURCE_MEM 0x200, _IO 0x100, _SIZEALIGN 0x40000, _MEM_64 0x100000, _PREFETCH 0x2000,
 * _READONLY 0x4000, and the BAR's own low bits.
 */
const RESOURCE_FLAGS: Readonly<Record<PciBar["type"], number>> = {
  memory: 0x40200,
  memory64: 0x140204,
  io: 0x40101,
  rom: 0x46200,
};

const FIRST_VF_RESOURCE = 7;
const IORESOURCE_PREFETCH = 0x2008;
const IORESOURCE_ROM_SHADOW = 2;

/** The wide BARs of virtual functions are prefetchable; a ROM may be firmware's copy. */
function flagsOf({ physfn, rom }: PciDeviceDescription, { type }: PciBar): number {
  if (type === "rom" && rom === "shadow") return RESOURCE_FLAGS.rom | IORESOURCE_ROM_SHADOW;
  return physfn !== undefined && type === "memory64"
    ? RESOURCE_FLAGS.memory64 | IORESOURCE_PREFETCH
    : RESOURCE_FLAGS[type];
}

function modalias(device: PciDeviceDescription): string {
  const id = (value: number) => upper(value, 8);
  const [base, sub, programming] = [device.class >>> 16, (device.class >>> 8) & 0xff, device.class & 0xff];
  return (
    `pci:v${id(device.vendor)}d${id(device.device)}sv${id(device.subsystemVendor)}sd${id(device.subsystemDevice)}` +
    `bc${upper(base, 2)}sc${upper(sub, 2)}i${upper(programming, 2)}`
  );
}

/** drivers/pci/pci-driver.c: pci_uevent. The class is not padded there. */
function uevent(device: PciDeviceDescription, driver: string | undefined): string {
  const lines = [
    `PCI_CLASS=${upper(device.class, 0)}`,
    `PCI_ID=${upper(device.vendor, 4)}:${upper(device.device, 4)}`,
    `PCI_SUBSYS_ID=${upper(device.subsystemVendor, 4)}:${upper(device.subsystemDevice, 4)}`,
    `PCI_SLOT_NAME=${device.bdf}`,
    `MODALIAS=${modalias(device)}`,
  ];
  if (driver !== undefined) lines.unshift(`DRIVER=${driver}`);
  return `${lines.join("\n")}\n`;
}

function hex(value: number | bigint, digits: number): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

function upper(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
