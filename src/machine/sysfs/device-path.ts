import { isBridge } from "../../devices/description.ts";
import { allDevices, findDevice } from "../find-device.ts";
import type { DeviceDescription, HostDescription, PciDeviceDescription } from "../host-description.ts";

const PCI_SECONDARY_BUS = 0x19;

/**
 * Where a device's directory is below /sys/devices. A bus without a bridge that is known to lead to it counts as a root bus of its own
 * (pci0000:01), as hosts with several host bridges have them: recordings do not hold the config space of bridges.
 */
export function devicePath(host: HostDescription, device: DeviceDescription): string {
  if (device.bus === "pci") return pciPath(host, device, new Set());
  return `${devicePath(host, findDevice(host, device.parent).device)}/${device.uuid}`;
}

/** The directory of the root bus: the same for all devices on it. */
function rootBusName(bdf: string): string {
  const [domain, bus] = bdf.split(":");
  return `pci${domain}:${bus}`;
}

function pciPath(host: HostDescription, device: PciDeviceDescription, below: ReadonlySet<string>): string {
  const bridge = bridgeTo(host, device, below);
  if (!bridge) return `/sys/devices/${rootBusName(device.bdf)}/${device.bdf}`;
  return `${pciPath(host, bridge, new Set([...below, device.bdf]))}/${device.bdf}`;
}

function bridgeTo(
  host: HostDescription,
  device: PciDeviceDescription,
  below: ReadonlySet<string>,
): PciDeviceDescription | undefined {
  const [domain, bus] = device.bdf.split(":");
  for (const { device: other } of allDevices(host)) {
    if (other.bus !== "pci" || other === device || !other.config || !isBridge(other) || below.has(other.bdf)) continue;
    if (other.bdf.startsWith(`${domain}:`) && other.config[PCI_SECONDARY_BUS] === Number.parseInt(bus!, 16))
      return other;
  }
  return undefined;
}
