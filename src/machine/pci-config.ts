import { isBridge, type PciBar, type PlacedBar } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { barOffset, composeConfig } from "../devices/pci/compose-config.ts";
import { adaptConfig } from "./adapt-config.ts";
import { deviceInstance } from "./device-instance.ts";
import type { HostDescription, PciDeviceDescription } from "./host-description.ts";
import { placeBars, placedByHand } from "./place-bars.ts";

const CONVENTIONAL_SIZE = 256;

/**
 * The device's config space as firmware leaves it: as recorded, or else what its kind has and its place makes of it.
 */
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
  const bars = placeBars(host).get(device.bdf)!;
  // a virtual function's BARs are in its physical one, a shadow's address is no BAR's
  const own = device.physfn === undefined ? bars.filter((bar) => !placedByHand(device, bar)) : [];
  return adaptConfig(host, device, composeConfig(device, isBridge(device) ? [] : own, layout));
}

/** The BARs of a device that have a known size, with their places. */
export function placedBars(host: HostDescription, device: PciDeviceDescription): readonly PlacedBar[] {
  const { config } = device;
  // a virtual function's config space has no BARs: its physical function has them
  if (!config || device.physfn !== undefined) return placeBars(host).get(device.bdf)!;
  return device.bars.map((bar) => ({ ...bar, address: placedByHand(device, bar) ?? addressIn(config, bar) }));
}

function addressIn(config: Uint8Array, bar: PciBar): bigint {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  const low = view.getUint32(barOffset(bar), true);
  if (bar.type === "io") return BigInt(low & ~3) & 0xffff_ffffn;
  if (bar.type === "rom") return BigInt.asUintN(32, BigInt(low)) & 0xffff_f800n;
  const high = bar.type === "memory64" ? view.getUint32(barOffset(bar) + 4, true) : 0;
  return (BigInt(high) << 32n) | (BigInt(low) & 0xffff_fff0n);
}
