import type { DeviceNode } from "../kernel/host-kernel.ts";
import { allDevices, deviceName, type FoundDevice } from "./find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "./host-description.ts";
import type { SysfsState } from "./sysfs/sysfs-state.ts";

/** The misc devices' major, and the minor that VFIO has for ever (include/linux/miscdevice.h: VFIO_MINOR). */
const MISC_MAJOR = 10;
const VFIO_MINOR = 196;
/** iommufd takes a dynamic minor (drivers/iommu/iommufd/main.c: MISC_DYNAMIC_MINOR); they are given out below 128. */
const IOMMU_MINOR = 125;

/**
 * Majors from the kernel's dynamic ranges (254 down to 234, then 511 down to 384): which ones depends on what was
 * registered before, so a program cannot rely on them. These are usual.
 */
export const VFIO_GROUP_MAJOR = 240;
export const VFIO_DEVICE_MAJOR = 511;

/** Drivers that register what they are bound to with VFIO. */
export function isVfioDriver(driver: string | null): boolean {
  if (driver === "vfio-pci") return true;
  return driver !== null && /^vfio[-_]|^mdev-vfio|[-_]vfio[-_](pci|ccw|ap)$|^nvgrace-gpu-vfio-pci$/.test(driver);
}

export function hasVfioDriver(device: DeviceDescription): boolean {
  return isVfioDriver(device.driver);
}

/** A device that is registered with VFIO, and its number there. */
export interface NumberedDevice extends FoundDevice {
  /** N in vfio-dev/vfioN and /dev/vfio/devices/vfioN: the order of binding, here that of the description. */
  readonly index: number;
}

const known = new WeakMap<HostDescription, readonly NumberedDevice[]>();

/** The devices that VFIO has at boot, by their numbers. */
export function vfioDevices(host: HostDescription): readonly NumberedDevice[] {
  let devices = known.get(host);
  if (!devices) {
    devices = allDevices(host)
      .filter(({ device }) => hasVfioDriver(device))
      .map((found, index) => ({ ...found, index }));
    known.set(host, devices);
  }
  return devices;
}

/** The node of a group: no-IOMMU groups have names of their own (drivers/vfio/group.c: vfio_group_alloc). */
export function groupNodePath({ id, noIommu }: GroupDescription): string {
  return noIommu ? `/dev/vfio/noiommu-${id}` : `/dev/vfio/${id}`;
}

/** The minor numbers of the groups' nodes at boot, in the order in which VFIO gets the groups. */
export function groupNodeMinors(host: HostDescription): ReadonlyMap<number, number> {
  const groups = host.groups.filter((group) => group.devices.some(hasVfioDriver));
  return new Map(groups.map(({ id }, minor) => [id, minor]));
}

/**
 * Whether VFIO's devices in a group have nodes of their own: with iommufd, but not in no-IOMMU mode (vfio_main.c:
 * vfio_device_add).
 */
export function haveOwnNodes(host: HostDescription, group: GroupDescription): boolean {
  return host.iommufd && !group.noIommu;
}

/** The nodes below /dev that the host has now. */
export function deviceNodes(host: HostDescription, state: SysfsState): readonly DeviceNode[] {
  const nodes: DeviceNode[] = [{ path: "/dev/vfio/vfio", major: MISC_MAJOR, minor: VFIO_MINOR, mode: 0o666 }];
  for (const group of host.groups) {
    const minor = state.groupMinorOf(group.id);
    if (minor !== undefined) nodes.push({ path: groupNodePath(group), major: VFIO_GROUP_MAJOR, minor, mode: 0o600 });
  }
  if (!host.iommufd) return nodes;
  // iommufd's miscdevice asks for 0660 and belongs to root (drivers/iommu/iommufd/main.c).
  nodes.push({ path: "/dev/iommu", major: MISC_MAJOR, minor: IOMMU_MINOR, mode: 0o660 });
  const devices = allDevices(host)
    .filter(({ group }) => haveOwnNodes(host, group))
    .flatMap(({ device }) => state.vfioIndexOf(deviceName(device)) ?? []);
  for (const index of devices.sort((a, b) => a - b))
    nodes.push({ path: `/dev/vfio/devices/vfio${index}`, major: VFIO_DEVICE_MAJOR, minor: index, mode: 0o600 });
  return nodes;
}
