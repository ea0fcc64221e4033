import { bridgesOf, busOf } from "../bridges.ts";
import { deviceName, findDevice } from "../find-device.ts";
import type { DeviceDescription, HostDescription, PciDeviceDescription } from "../host-description.ts";
import { segmentOf } from "../virtual-functions.ts";
import { vmdControllers } from "../vmd.ts";

const known = new WeakMap<HostDescription, Map<string, string>>();

/**
 * Where a device's directory is below /sys/devices. A bus without a bridge that leads to it counts as a root bus of its
 * own (pci0000:01), as hosts with several host bridges have them. A virtual function lies beside its physical one, and
 * what is behind a VMD controller below it.
 */
export function devicePath(host: HostDescription, device: DeviceDescription): string {
  let paths = known.get(host);
  if (!paths) {
    paths = new Map();
    known.set(host, paths);
  }
  const name = deviceName(device);
  let path = paths.get(name);
  if (path === undefined) {
    path = findPath(host, device);
    paths.set(name, path);
  }
  return path;
}

function findPath(host: HostDescription, device: DeviceDescription): string {
  if (device.bus !== "pci") return `${devicePath(host, findDevice(host, device.parent).device)}/${device.uuid}`;
  return `${busPath(host, device, new Set())}/${device.bdf}`;
}

/** The directory of the bus that a device is on. */
function busPath(host: HostDescription, device: PciDeviceDescription, below: Set<string>): string {
  const bus = busOf(device.physfn ?? device.bdf);
  const bridge = bridgesOf(host).leadingTo.get(bus);
  if (bridge && !below.has(bridge.bdf)) {
    below.add(bridge.bdf);
    return `${busPath(host, bridge, below)}/${bridge.bdf}`;
  }
  const controller = vmdControllers(host).get(segmentOf(bus));
  const above = controller ? `${busPath(host, controller, below)}/${controller.bdf}` : "/sys/devices";
  return `${above}/pci${bus}`;
}
