import { kindOf } from "../../iommu/kinds.ts";
import { allDevices } from "../find-device.ts";
import type { HostDescription } from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import type { TreeBuilder } from "./tree-builder.ts";

/** /sys/class/iommu: one IOMMU that all devices are behind, and the links between it and them. */
export function addIommuClass(tree: TreeBuilder, host: HostDescription): void {
  tree.directory("/sys/class/iommu");
  const { sysfs: unit } = kindOf(host.iommu.model);
  if (unit === undefined) return;
  const at = `/sys/devices/virtual/iommu/${unit.name}`;
  tree.link(`/sys/class/iommu/${unit.name}`, at);
  tree.link(`${at}/subsystem`, "/sys/class/iommu");
  tree.directory(`${at}/devices`);
  for (const { device, group } of allDevices(host)) {
    if (device.bus !== "pci" || group.noIommu) continue;
    tree.link(`${at}/devices/${device.bdf}`, devicePath(host, device));
    tree.link(`${devicePath(host, device)}/iommu`, at);
  }
  for (const [path, text] of unit.attributes(host.iommu)) tree.line(`${at}/${path}`, text);
}
