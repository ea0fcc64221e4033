import { isBridge } from "../devices/description.ts";
import { findCapability } from "../devices/pci/capabilities.ts";
import { PCI_CAP_ID_EXP, PCI_EXP_FLAGS } from "../devices/pci/registers.ts";
import { leadsToConventionalBus } from "./express.ts";
import { pciDevices } from "./find-device.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";
import { routingId, segmentOf } from "./virtual-functions.ts";
import { vmdControllers } from "./vmd.ts";

/**
 * Which bridge leads to which bus. A bridge's config space says it, or its description. For the others buses are
 * numbered as firmware does it, depth first: a bus is below the nearest bridge before it that leads nowhere yet.
 */
export interface Bridges {
  /** By bus: "0000:01". A bus that is missing here is a root bus. */
  readonly leadingTo: ReadonlyMap<string, PciDeviceDescription>;
  /** By a bridge's BDF: the last bus below it. */
  readonly lastBusBelow: ReadonlyMap<string, number>;
  /** By a bridge's BDF. */
  readonly busBelow: ReadonlyMap<string, number>;
}

const PCI_SECONDARY_BUS = 0x19;
/** "0000:01" */
export function busOf(bdf: string): string {
  return bdf.slice(0, bdf.indexOf(":") + 3);
}

/** Device/port types of bridges to conventional PCI and from there, bits 7:4 of PCI_EXP_FLAGS. */
const TO_CONVENTIONAL: ReadonlySet<number> = new Set([7, 8]);

/**
 * Whether a bridge to conventional PCI is above a function: its requests then have the bridge's source-id too
 * (drivers/pci/search.c:pci_for_each_dma_alias).
 */
export function isBelowConventionalBridge(host: HostDescription, bdf: string): boolean {
  const { leadingTo } = bridgesOf(host);
  const seen = new Set<string>();
  for (
    let bridge = leadingTo.get(busOf(bdf));
    bridge && !seen.has(bridge.bdf);
    bridge = leadingTo.get(busOf(bridge.bdf))
  ) {
    seen.add(bridge.bdf);
    if (isConventionalBridge(bridge)) return true;
  }
  return false;
}

function isConventionalBridge(bridge: PciDeviceDescription): boolean {
  const { config } = bridge;
  if (!config) return leadsToConventionalBus(bridge);
  const at = findCapability(config, PCI_CAP_ID_EXP);
  if (at === undefined) return true;
  const flags = config[at + PCI_EXP_FLAGS] ?? 0;
  return TO_CONVENTIONAL.has(flags >> 4);
}

const known = new WeakMap<HostDescription, Bridges>();

export function bridgesOf(host: HostDescription): Bridges {
  let found = known.get(host);
  if (!found) {
    found = findBridges(host);
    known.set(host, found);
  }
  return found;
}

function findBridges(host: HostDescription): Bridges {
  const leadingTo = new Map<string, PciDeviceDescription>();
  const devices = pciDevices(host);
  const open: PciDeviceDescription[] = [];
  const bridges = devices.filter(isBridge);
  if (bridges.length === 0) return { leadingTo, ...reach(leadingTo) };
  for (const bridge of bridges) {
    const bus = bridge.secondaryBus ?? bridge.config?.[PCI_SECONDARY_BUS];
    if (bus === undefined) open.push(bridge);
    else if (bus > 0 && !leadingTo.has(busName(bridge, bus))) leadingTo.set(busName(bridge, bus), bridge);
  }
  // Virtual functions may have routing ids on buses that no bridge has; they are where their physical function is.
  const real = devices.filter(({ physfn }) => physfn === undefined);
  const buses = [...new Set(real.map(({ bdf }) => busOf(bdf)))].sort((a, b) => numberOf(a) - numberOf(b));
  const roots = new Set([...vmdControllers(host).keys()].map((domain) => rootOf(domain, buses)));
  for (const bus of buses) {
    if (leadingTo.has(bus) || numberOf(bus) === 0 || roots.has(bus)) continue;
    const before = open.filter(({ bdf }) => segmentOf(bdf) === segmentOf(bus) && numberOf(busOf(bdf)) < numberOf(bus));
    const nearest = Math.max(...before.map(({ bdf }) => numberOf(busOf(bdf))));
    const onIt = before.filter(({ bdf }) => numberOf(busOf(bdf)) === nearest);
    const bridge = onIt.sort((a, b) => routingId(a.bdf) - routingId(b.bdf))[0];
    if (!bridge) continue;
    leadingTo.set(bus, bridge);
    open.splice(open.indexOf(bridge), 1);
  }
  return { leadingTo, ...reach(leadingTo) };
}

/** A VMD's own segment begins at its lowest bus. */
function rootOf(domain: string, buses: readonly string[]): string | undefined {
  return buses.find((bus) => segmentOf(bus) === domain);
}

function reach(leadingTo: ReadonlyMap<string, PciDeviceDescription>): Omit<Bridges, "leadingTo"> {
  const busBelow = new Map<string, number>();
  const lastBusBelow = new Map<string, number>();
  for (const [bus, bridge] of leadingTo) busBelow.set(bridge.bdf, numberOf(bus));
  for (const bus of leadingTo.keys()) {
    const seen = new Set<string>();
    for (let above = leadingTo.get(bus); above && !seen.has(above.bdf); above = leadingTo.get(busOf(above.bdf))) {
      seen.add(above.bdf);
      lastBusBelow.set(above.bdf, Math.max(lastBusBelow.get(above.bdf) ?? 0, numberOf(bus)));
    }
  }
  return { busBelow, lastBusBelow };
}

function busName({ bdf }: PciDeviceDescription, bus: number): string {
  return `${segmentOf(bdf)}:${bus.toString(16).padStart(2, "0")}`;
}

function numberOf(bus: string): number {
  return Number.parseInt(bus.slice(bus.indexOf(":") + 1), 16);
}
