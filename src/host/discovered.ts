import type { DeviceKinds } from "../devices/kinds.ts";
import { deviceInstance } from "../machine/device-instance.ts";
import { withDevices } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";

/** The host as its devices show themselves when it boots, where their kinds can say that then only. */
export function discovered(host: HostDescription, kinds: DeviceKinds): HostDescription {
  const groups = withDevices(host.groups, (device) => {
    if (device.bus !== "pci") return device;
    const kind = kinds.pciKind(device.model);
    const found = kind.discover?.(deviceInstance(kind, device), device);
    return found ? { ...device, ...found } : device;
  });
  return groups === host.groups ? host : { ...host, groups };
}
