import type { DeviceKinds } from "../devices/kinds.ts";
import { deviceInstance } from "../machine/device-instance.ts";
import type { DeviceDescription, HostDescription } from "../machine/host-description.ts";

/** The host as its devices show themselves when it boots, where their kinds can say that then only. */
export function discovered(host: HostDescription, kinds: DeviceKinds): HostDescription {
  let isAny = false;
  const look = (device: DeviceDescription): DeviceDescription => {
    const kind = device.bus === "pci" ? kinds.pciKind(device.model) : undefined;
    if (!kind?.discover || device.bus !== "pci") return device;
    const found = kind.discover(deviceInstance(kind, device), device);
    isAny ||= found !== undefined;
    return { ...device, ...found };
  };
  const groups = host.groups.map((group) => ({ ...group, devices: group.devices.map(look) }));
  return isAny ? { ...host, groups } : host;
}
