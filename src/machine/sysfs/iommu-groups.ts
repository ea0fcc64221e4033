import { deviceName } from "../find-device.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";
import { isGroupThere } from "./boot-state.ts";
import { devicePath } from "./device-path.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { READ_WRITE, type TreeBuilder } from "./tree-builder.ts";

/** /sys/kernel/iommu_groups (Documentation/ABI/testing/sysfs-kernel-iommu_groups). */
export function addIommuGroup(
  tree: TreeBuilder,
  host: HostDescription,
  group: GroupDescription,
  state: SysfsState,
): void {
  if (!isGroupThere(group, state)) return;
  const at = `/sys/kernel/iommu_groups/${group.id}`;
  tree.directory(`${at}/devices`);
  for (const device of group.devices)
    if (state.isHere(deviceName(device))) tree.link(`${at}/devices/${deviceName(device)}`, devicePath(host, device));
  tree.line(`${at}/type`, group.type, READ_WRITE);
  if (group.name !== undefined) tree.line(`${at}/name`, group.name);
  // Empty for a group without any, as it is on a real host.
  tree.file(`${at}/reserved_regions`, reservedRegions(group));
}

/** drivers/iommu/iommu.c: iommu_group_show_resv_regions. */
function reservedRegions({ reservedRegions: regions }: GroupDescription): string {
  const address = (value: bigint) => `0x${value.toString(16).padStart(16, "0")}`;
  return regions.map(({ start, last, type }) => `${address(start)} ${address(last)} ${type}\n`).join("");
}
