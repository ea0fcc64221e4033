import type { PciBar, PlacedBar } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { barOffset, composeConfig } from "../devices/pci/compose-config.ts";
import { deviceInstance } from "./device-instance.ts";
import { allDevices } from "./find-device.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";

const CONVENTIONAL_SIZE = 256;

/** Where firmware puts BARs that no recording places: each kind in a range of its own, upwards. */
const FIRST_ADDRESS = { memory: 0xc000_0000n, memory64: 0x40_0000_0000n, io: 0x1000n } as const;

/** The device's config space as firmware leaves it: as recorded, or else what its kind has. */
export function configSpace(
  host: HostDescription,
  device: PciDeviceDescription,
  kinds: DeviceKinds = DEVICE_KINDS,
): Uint8Array {
  // what firmware of s390 lets through has no extended part
  if (device.config) return device.zpci ? device.config.subarray(0, CONVENTIONAL_SIZE) : device.config;
  const kind = kinds.pciKind(device.model);
  // what devices have only because their host speaks a proposal is not seen here
  const layout = kind.config({ ...deviceInstance(kind, device), translation: device.translation });
  return composeConfig(device, placeBars(host).get(device.bdf)!, layout);
}

/** The BARs of a device that have a known size, with their places. */
export function placedBars(host: HostDescription, device: PciDeviceDescription): readonly PlacedBar[] {
  const { config } = device;
  if (!config) return placeBars(host).get(device.bdf)!;
  return device.bars.map((bar) => ({ ...bar, address: addressIn(config, bar) }));
}

/** Places the BARs of all devices without recorded config space, in the order of the description, each at a multiple of its size. */
function placeBars(host: HostDescription): ReadonlyMap<string, readonly PlacedBar[]> {
  const next = { ...FIRST_ADDRESS } as Record<keyof typeof FIRST_ADDRESS, bigint>;
  const placed = new Map<string, readonly PlacedBar[]>();
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci" || device.config) continue;
    const bars = device.bars.map((bar) => {
      const kind = bar.type === "rom" ? "memory" : bar.type;
      const size = BigInt(bar.size);
      const address = ((next[kind] + size - 1n) / size) * size;
      // Bridges hand out whole pages, so no two BARs share one; io ports are fine-grained.
      next[kind] = address + (kind === "io" || size > 0x1000n ? size : 0x1000n);
      return { ...bar, address };
    });
    placed.set(device.bdf, bars);
  }
  return placed;
}

function addressIn(config: Uint8Array, bar: PciBar): bigint {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const low = view.getUint32(barOffset(bar), true);
  if (bar.type === "io") return BigInt(low & ~3) & 0xffff_ffffn;
  if (bar.type === "rom") return BigInt.asUintN(32, BigInt(low)) & 0xffff_f800n;
  const high = bar.type === "memory64" ? view.getUint32(barOffset(bar) + 4, true) : 0;
  return (BigInt(high) << 32n) | (BigInt(low) & 0xffff_fff0n);
}
