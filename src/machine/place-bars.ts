import type { PciBar, PlacedBar } from "../devices/description.ts";
import { ROM_BAR } from "../devices/pci/registers.ts";
import { SHADOW_ROM_ADDRESS } from "../devices/pci/rom-image.ts";
import { allDevices } from "./find-device.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";
import { physicalFunctions } from "./virtual-functions.ts";

/** Where firmware puts BARs that no recording places: each kind in a range of its own, upwards. */
const FIRST_ADDRESS = { memory: 0xc000_0000n, memory64: 0x40_0000_0000n, io: 0x1000n } as const;

const known = new WeakMap<HostDescription, ReadonlyMap<string, readonly PlacedBar[]>>();

/**
 * The BARs of all devices without recorded config space by BDF, in the order of the description, each at a multiple of
 * its size.
 */
export function placeBars(host: HostDescription): ReadonlyMap<string, readonly PlacedBar[]> {
  let placed = known.get(host);
  if (!placed) {
    placed = placeAll(host);
    known.set(host, placed);
  }
  return placed;
}

/** The address of a ROM that is firmware's copy of one; undefined for all other BARs. */
export function placedByHand({ rom }: PciDeviceDescription, { type }: PciBar): bigint | undefined {
  return type === "rom" && rom === "shadow" ? SHADOW_ROM_ADDRESS : undefined;
}

function placeAll(host: HostDescription): ReadonlyMap<string, readonly PlacedBar[]> {
  const next = { ...FIRST_ADDRESS } as Record<keyof typeof FIRST_ADDRESS, bigint>;
  const placed = new Map<string, PlacedBar[]>();
  const free = (bar: PciBar): bigint => {
    const kind = bar.type === "rom" ? "memory" : bar.type;
    const size = BigInt(bar.size);
    const address = ((next[kind] + size - 1n) / size) * size;
    // Bridges hand out whole pages, so no two BARs share one; io ports are fine-grained.
    next[kind] = address + (kind === "io" || size > 0x1000n ? size : 0x1000n);
    return address;
  };
  const place = (device: PciDeviceDescription, bar: PciBar) =>
    placed.get(device.bdf)!.push({ ...bar, address: placedByHand(device, bar) ?? free(bar) });
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci" || (device.config && device.physfn === undefined)) continue;
    placed.set(device.bdf, []);
    if (device.physfn === undefined) for (const bar of device.bars) place(device, bar);
  }
  // the same BAR of all virtual functions of one physical function, one behind the other
  for (const { functions } of physicalFunctions(host).values())
    for (let index = 0; index <= ROM_BAR; index++)
      for (const device of functions) {
        const bar = device.bars.find((candidate) => candidate.index === index);
        if (bar) place(device, bar);
      }
  return placed;
}
