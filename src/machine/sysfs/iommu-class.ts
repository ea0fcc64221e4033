import type { SysfsUnit } from "../../iommu/kind.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { allDevices } from "../find-device.ts";
import type { HostDescription } from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import { READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

/** /sys/class/iommu: one IOMMU that all devices are behind (on s390 each has its own), and the links between it and them. */
export function addIommuClass(tree: TreeBuilder, host: HostDescription): void {
  tree.directory("/sys/class/iommu");
  const { sysfs: unit } = kindOf(host.iommu.model);
  if (unit === undefined) return;
  const made = new Set<string>();
  for (const { device, group } of allDevices(host)) {
    if (device.bus !== "pci" || group.noIommu) continue;
    const name = device.zpci && unit.ofFunction ? unit.ofFunction(device.zpci.functionId) : unit.name;
    const at = `/sys/devices/virtual/iommu/${name}`;
    if (!made.has(name)) addUnit(tree, name, unit, host);
    made.add(name);
    tree.link(`${at}/devices/${device.bdf}`, devicePath(host, device));
    tree.link(`${devicePath(host, device)}/iommu`, at);
  }
}

function addUnit(tree: TreeBuilder, name: string, unit: SysfsUnit, host: HostDescription): void {
  const at = `/sys/devices/virtual/iommu/${name}`;
  tree.link(`/sys/class/iommu/${name}`, at);
  tree.link(`${at}/subsystem`, "/sys/class/iommu");
  if (unit.ofFunction) tree.file(`${at}/uevent`, "", READ_WRITE);
  tree.directory(`${at}/devices`);
  for (const [path, text] of unit.attributes(host.iommu)) tree.line(`${at}/${path}`, text);
}
