import type { PciBar, PlacedBar } from "../devices/description.ts";
import { findExtended } from "../devices/pci/capabilities.ts";
import { PCI_EXT_CAP_ID_SRIOV, ROM_BAR } from "../devices/pci/registers.ts";
import { SHADOW_ROM_ADDRESS } from "../devices/pci/rom-image.ts";
import { allDevices } from "./find-device.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";
import { physicalFunctions } from "./virtual-functions.ts";

/** Where firmware puts BARs that no recording places: each kind in a range of its own, upwards. */
const FIRST_ADDRESS = { memory: 0xc000_0000n, memory64: 0x40_0000_0000n, io: 0x1000n } as const;

/** pci_regs.h: PCI_SRIOV_BAR. */
const SRIOV_BAR = 0x24;

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
  for (const { device: physical, functions } of physicalFunctions(host).values())
    for (let index = 0; index <= ROM_BAR; index++)
      for (const [number, device] of functions.entries()) {
        const bar = device.bars.find((candidate) => candidate.index === index);
        if (!bar) continue;
        const first = recordedPlace(physical, bar);
        if (first === undefined) place(device, bar);
        else placed.get(device.bdf)!.push({ ...bar, address: first + BigInt(number * bar.size) });
      }
  return placed;
}

/** Where a physical function's recorded config space has a BAR of its virtual ones (PCI_SRIOV_BAR). */
function recordedPlace({ config }: PciDeviceDescription, { index, type }: PciBar): bigint | undefined {
  const at = config && findExtended(config, PCI_EXT_CAP_ID_SRIOV);
  if (config === undefined || at === undefined || index >= ROM_BAR) return undefined;
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const low = view.getUint32(at + SRIOV_BAR + 4 * index, true) & ~0xf;
  const high = type === "memory64" ? view.getUint32(at + SRIOV_BAR + 4 * index + 4, true) : 0;
  const address = (BigInt(high) << 32n) | BigInt(low >>> 0);
  return address === 0n ? undefined : address;
}
