import { deviceName } from "../machine/find-device.ts";
import type { GroupDescription, HostDescription } from "../machine/host-description.ts";

/** So many names stand in a line. */
const NAMES_MAX = 12;

/**
 * Why a host has no node at a path below /dev/vfio, or no /dev/iommu: what is most often wrong when a program is run
 * for the first time.
 * @param driverOf the driver that a device has now
 */
export function whyMissing(
  path: string,
  { name, kernel, groups }: HostDescription,
  driverOf: (device: string) => string | undefined,
): string {
  const host = `host ${name} (Linux ${kernel})`;
  const number = /^\/dev\/vfio\/(?:noiommu-)?(\d+)$/.exec(path)?.[1];
  if (number === undefined) return `${path} is not on ${host}`;
  const group = groups.find(({ id }) => id === Number(number));
  if (group === undefined)
    return `${host} has no group ${number}: its groups are ${listed(groups.map(({ id }) => id))}`;
  return `no device of group ${number} is bound to vfio-pci on ${host}: ${bound(group, driverOf)}`;
}

function bound({ devices }: GroupDescription, driverOf: (device: string) => string | undefined): string {
  const texts = devices.map((device) => {
    const driver = driverOf(deviceName(device));
    return `${deviceName(device)} ${driver === undefined ? "has no driver" : `is ${driver}'s`}`;
  });
  return listed(texts);
}

function listed(all: readonly (string | number)[]): string {
  const shown = all.slice(0, NAMES_MAX).join(", ");
  return all.length > NAMES_MAX ? `${shown} and ${all.length - NAMES_MAX} more` : shown;
}
