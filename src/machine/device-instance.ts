import type { TranslationAbilities } from "../devices/description.ts";
import type { DeviceInstance, DeviceKind } from "../devices/kind.ts";
import { readOptions } from "../devices/options.ts";
import { deviceName } from "./find-device.ts";
import type { DeviceDescription, HostDescription, PciDeviceDescription } from "./host-description.ts";

/** A device of a host as its kind is told of it. Its options have been checked (check-models.ts). */
export function deviceInstance(kind: DeviceKind, device: DeviceDescription): DeviceInstance {
  return { name: deviceName(device), options: readOptions(kind, device.options).values };
}

/**
 * On hosts that speak a proposal every device has PASIDs and a TLB of its own (docs/vsva.md); nobody there answers page
 * requests.
 */
const PROPOSED: TranslationAbilities = { pasid: true, ats: true, pri: false };

/**
 * What a PCI device does of translation on a host, whether or not it shows it in its config space; undefined for
 * nothing.
 */
export function translationOf(host: HostDescription, device: PciDeviceDescription): TranslationAbilities | undefined {
  return device.translation ?? (host.api === "mainline" ? undefined : PROPOSED);
}
