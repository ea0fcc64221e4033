import { allDevices } from "../find-device.ts";
import type { HostDescription, MdevDeviceDescription } from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { type TreeBuilder, WRITE_ONLY } from "./tree-builder.ts";

/**
 * Mediated devices (Documentation/driver-api/vfio-mediated-device.rst): each below its parent, the bus that lists them,
 * and the types that the parents offer.
 */
export function addMediatedDevices(tree: TreeBuilder, host: HostDescription, state: SysfsState): void {
  const drivers = new Set<string>();
  const parents = new Set<string>();
  const types = new Set<string>();
  for (const { device, group } of allDevices(host)) {
    if (device.bus !== "mdev") continue;
    const at = devicePath(host, device);
    const parent = at.slice(0, at.lastIndexOf("/"));
    const type = `${parent}/mdev_supported_types/${device.type}`;
    tree.link(`/sys/bus/mdev/devices/${device.uuid}`, at);
    tree.link(`${at}/subsystem`, "/sys/bus/mdev");
    tree.link(`${at}/iommu_group`, `/sys/kernel/iommu_groups/${group.id}`);
    tree.link(`${at}/mdev_type`, type);
    tree.trigger(`${at}/remove`);
    const driver = state.driverOf(device.uuid);
    if (device.driver !== null) drivers.add(device.driver);
    tree.file(`${at}/uevent`, driver === undefined ? "" : `DRIVER=${driver}\n`);
    if (driver !== undefined) {
      tree.link(`${at}/driver`, `/sys/bus/mdev/drivers/${driver}`);
      tree.link(`/sys/bus/mdev/drivers/${driver}/${device.uuid}`, at);
    }
    if (!types.has(type)) addType(tree, type, device);
    types.add(type);
    tree.link(`${type}/devices/${device.uuid}`, at);
    if (!parents.has(parent)) tree.link(`/sys/class/mdev_bus/${device.parent}`, parent);
    parents.add(parent);
  }
  for (const driver of drivers)
    for (const name of ["bind", "unbind", "uevent"]) tree.trigger(`/sys/bus/mdev/drivers/${driver}/${name}`);
}

function addType(tree: TreeBuilder, at: string, device: MdevDeviceDescription): void {
  // The id is the parent driver's name, a hyphen and the driver's own name for it (drivers/vfio/mdev/mdev_sysfs.c).
  tree.line(`${at}/name`, device.type.replace(/^[^-]*-/, ""));
  tree.line(`${at}/description`, `${device.type} of ${device.parent}`);
  tree.line(`${at}/device_api`, "vfio-pci");
  // All that there are, are in the description.
  tree.line(`${at}/available_instances`, "0");
  tree.file(`${at}/create`, "", WRITE_ONLY);
}
