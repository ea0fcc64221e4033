import { isBridge } from "../devices/description.ts";
import { findCapability } from "../devices/pci/capabilities.ts";
import * as pci from "../devices/pci/registers.ts";
import { bridgesOf, busOf } from "./bridges.ts";
import { isExpressKind } from "./express.ts";
import { expressConfig } from "./express-config.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";
import { placeBars } from "./place-bars.ts";
import { addSriov } from "./sriov-config.ts";
import { physicalFunctions, routingId } from "./virtual-functions.ts";

const PCI_PRIMARY_BUS = 0x18;
/** Not connected. */
const NO_LINE = 0xff;
const ABSENT = 0xffff;

/**
 * What a device's place in its machine adds to the config space that its kind has: lines, buses, functions, PCI
 * Express.
 */
export function adaptConfig(host: HostDescription, device: PciDeviceDescription, config: Uint8Array): Uint8Array {
  setLine(config, device);
  if (device.physfn !== undefined) makeVirtual(config);
  if (isBridge(device)) writeBusNumbers(config, host, device);
  const hasExpress = findCapability(config, pci.PCI_CAP_ID_EXP) !== undefined;
  if (!hasExpress && isExpressKind(device)) {
    config = expressConfig(config, { bridge: isBridge(device), onRootBus: isOnRootBus(host, device) });
  }
  const physical = physicalFunctions(host).get(device.bdf);
  const first = physical?.functions[0];
  if (physical && config.length === pci.PCI_CFG_SPACE_EXP_SIZE)
    addSriov(config, physical, first ? placeBars(host).get(first.bdf)! : []);
  return config;
}

function setLine(config: Uint8Array, { irq }: PciDeviceDescription): void {
  if (irq === undefined || config[pci.PCI_INTERRUPT_PIN] === 0) return;
  config[pci.PCI_INTERRUPT_LINE] = irq === 0 || irq > NO_LINE ? NO_LINE : irq;
}

/**
 * Its header has neither ids nor a line nor memory to switch on (Single Root I/O Virtualization specification, 3.4.1).
 */
function makeVirtual(config: Uint8Array): void {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  view.setUint16(0, ABSENT, true);
  view.setUint16(2, ABSENT, true);
  view.setUint16(pci.PCI_COMMAND, 0, true);
  config[pci.PCI_INTERRUPT_LINE] = 0;
  config[pci.PCI_INTERRUPT_PIN] = 0;
}

function isOnRootBus(host: HostDescription, { bdf, physfn }: PciDeviceDescription): boolean {
  const bus = busOf(physfn ?? bdf);
  // bus 0 of a segment is its root bus; others are taken for buses behind ports even where no port is described
  return bus.endsWith(":00") && !bridgesOf(host).leadingTo.has(bus);
}

/** What firmware has put into a bridge. */
function writeBusNumbers(config: Uint8Array, host: HostDescription, bridge: PciDeviceDescription): void {
  const { busBelow, lastBusBelow } = bridgesOf(host);
  const secondary = busBelow.get(bridge.bdf) ?? bridge.secondaryBus;
  if (secondary === undefined) return;
  config.set([routingId(bridge.bdf) >> 8, secondary, lastBusBelow.get(bridge.bdf) ?? secondary], PCI_PRIMARY_BUS);
}
