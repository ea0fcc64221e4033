import type { DeviceDescription, GroupDescription, HostDescription, PciDeviceDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";

/** A device and the group it is in. */
export interface FoundDevice {
  readonly device: DeviceDescription;
  readonly group: GroupDescription;
}

/** What VFIO calls a device (VFIO_GROUP_GET_DEVICE_FD takes it): its PCI address or its UUID. */
export function deviceName(device: DeviceDescription): string {
  return device.bus === "pci" ? device.bdf : device.uuid;
}

const known = new WeakMap<HostDescription, readonly FoundDevice[]>();

/** Every device of the host in the order of its description. Asked again and again, so found once for each host. */
export function allDevices(host: HostDescription): readonly FoundDevice[] {
  let all = known.get(host);
  if (!all) {
    const found: FoundDevice[] = [];
    for (const group of host.groups)
      for (let at = 0; at < group.devices.length; at++) found.push({ device: group.devices[at]!, group });
    all = found;
    known.set(host, found);
  }
  return all;
}

const knownPci = new WeakMap<HostDescription, readonly PciDeviceDescription[]>();

/** Every PCI device of the host, likewise. */
export function pciDevices(host: HostDescription): readonly PciDeviceDescription[] {
  let all = knownPci.get(host);
  if (!all) {
    const found: PciDeviceDescription[] = [];
    for (const { devices } of host.groups)
      for (let at = 0; at < devices.length; at++) {
        const device = devices[at]!;
        if (device.bus === "pci") found.push(device);
      }
    all = found;
    knownPci.set(host, found);
  }
  return all;
}

/**
 * Finds a device by its PCI address, which need not have the domain when that is 0000 (00:1b.0), its UUID, or a sysfs
 * path that ends in one of them (/sys/bus/pci/devices/0000:00:1b.0, with or without slashes at the end). Throws
 * HostDescriptionError that lists the devices there are.
 */
export function findDevice(host: HostDescription, nameOrPath: string): FoundDevice {
  const wanted = fullAddress(nameOrPath.replace(/\/+$/, "").replace(/^.*\//, "").toLowerCase());
  const all = allDevices(host);
  const found = all.find(({ device }) => deviceName(device) === wanted);
  if (found) return found;
  const names = all.map(({ device }) => deviceName(device));
  throw new HostDescriptionError(
    `device "${nameOrPath}" is not on host ${host.name}; ${names.length === 0 ? "it has no devices" : `its devices: ${names.join(", ")}`}`,
  );
}

/** A PCI address with its domain, as lspci leaves it out; any other name as it is. */
export function fullAddress(name: string): string {
  return /^[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$/.test(name) ? `0000:${name}` : name;
}

export function findGroup(host: HostDescription, id: number): GroupDescription | undefined {
  return host.groups.find((group) => group.id === id);
}

/** Groups with their devices changed. What `change` returns as it is stays the same object, groups and all. */
export function withDevices(
  groups: readonly GroupDescription[],
  change: (device: DeviceDescription, group: GroupDescription) => DeviceDescription,
): readonly GroupDescription[] {
  let changed: GroupDescription[] | undefined;
  for (let at = 0; at < groups.length; at++) {
    const group = groups[at]!;
    let devices: DeviceDescription[] | undefined;
    for (let index = 0; index < group.devices.length; index++) {
      const device = group.devices[index]!;
      const now = change(device, group);
      if (now === device) continue;
      devices ??= [...group.devices];
      devices[index] = now;
    }
    if (devices === undefined) continue;
    changed ??= [...groups];
    changed[at] = { ...group, devices };
  }
  return changed ?? groups;
}
