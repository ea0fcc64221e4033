import { groupNodeMinors, isVfioDriver, vfioDevices } from "../device-nodes.ts";
import { deviceName } from "../find-device.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";
import { wantedDriver } from "../refused-driver.ts";
import type { SysfsState } from "./sysfs-state.ts";

/** A host as it boots. */
export function bootState(host: HostDescription): SysfsState {
  const devices = new Map(
    host.groups.flatMap((group) => group.devices.map((device) => [deviceName(device), device] as const)),
  );
  const indexes = new Map(vfioDevices(host).map(({ device, index }) => [deviceName(device), index]));
  const minors = groupNodeMinors(host);
  return {
    driverOf: (name) => devices.get(name)?.driver ?? undefined,
    overrideOf: (name) => {
      const device = devices.get(name);
      const wanted = device && (device.bus === "pci" ? wantedDriver(device) : device.driver);
      // A VFIO driver has been given the device on purpose, also where it cannot have it.
      return isVfioDriver(wanted ?? null) ? wanted! : undefined;
    },
    vfioIndexOf: (name) => indexes.get(name),
    groupMinorOf: (group) => minors.get(group),
    isHere: () => true,
  };
}

/**
 * Whether the kernel has a group: without an IOMMU only while a VFIO driver has its device, and not without a device.
 */
export function isGroupThere(group: GroupDescription, state: SysfsState): boolean {
  const devices = group.devices.map(deviceName).filter((name) => state.isHere(name));
  if (devices.length === 0) return false;
  return !group.noIommu || devices.some((name) => isVfioDriver(state.driverOf(name) ?? null));
}
