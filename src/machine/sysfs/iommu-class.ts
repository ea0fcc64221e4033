import type { SysfsUnit } from "../../iommu/kind.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { allDevices } from "../find-device.ts";
import type {
  DeviceDescription,
  GroupDescription,
  HostDescription,
  PciDeviceDescription,
} from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import { READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

/** /sys/class/iommu: one IOMMU that all devices are behind; on s390 each has its own. */
export function addIommuClass(tree: TreeBuilder, host: HostDescription): void {
  tree.directory("/sys/class/iommu");
  const { sysfs: unit } = kindOf(host.iommu.model);
  if (unit === undefined) return;
  const names = allDevices(host).flatMap(({ device, group }) => unitNameOf(host, device, group) ?? []);
  for (const name of new Set(names)) addUnit(tree, name, unit, host);
}

/** The links between a device and its IOMMU. */
export function addIommuLinks(
  tree: TreeBuilder,
  host: HostDescription,
  device: PciDeviceDescription,
  group: GroupDescription,
): void {
  const name = unitNameOf(host, device, group);
  if (name === undefined) return;
  tree.link(`/sys/devices/virtual/iommu/${name}/devices/${device.bdf}`, devicePath(host, device));
  tree.link(`${devicePath(host, device)}/iommu`, `/sys/devices/virtual/iommu/${name}`);
}

function unitNameOf(host: HostDescription, device: DeviceDescription, group: GroupDescription): string | undefined {
  const { sysfs: unit } = kindOf(host.iommu.model);
  if (unit === undefined || device.bus !== "pci" || group.noIommu) return undefined;
  return device.zpci && unit.ofFunction ? unit.ofFunction(device.zpci.functionId) : unit.name;
}

function addUnit(tree: TreeBuilder, name: string, unit: SysfsUnit, host: HostDescription): void {
  const at = `/sys/devices/virtual/iommu/${name}`;
  tree.link(`/sys/class/iommu/${name}`, at);
  tree.link(`${at}/subsystem`, "/sys/class/iommu");
  if (unit.ofFunction) tree.file(`${at}/uevent`, "", READ_WRITE);
  tree.directory(`${at}/devices`);
  for (const [path, text] of unit.attributes(host.iommu)) tree.line(`${at}/${path}`, text);
}
