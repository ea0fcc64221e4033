import { readdirSync } from "node:fs";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import type { FileTree, Graft } from "../kernel/file-tree.ts";
import type { HostDescription } from "./host-description.ts";
import { addIommuClass } from "./sysfs/iommu-class.ts";
import { addIommuGroups } from "./sysfs/iommu-groups.ts";
import { addMediatedDevices } from "./sysfs/mediated-devices.ts";
import { addModules, isVfioModule } from "./sysfs/modules.ts";
import { addPciDevices } from "./sysfs/pci-devices.ts";
import { TreeBuilder } from "./sysfs/tree-builder.ts";
import { addVfioDevices } from "./sysfs/vfio-devices.ts";

/** Names in a real directory; none when it is not there. */
export type ListDirectory = (directory: string) => readonly string[];

/**
 * What Linux has in /sys for such a host: what QEMU, DPDK, libvirt, lspci and scripts look at. Files that the kernel would leave empty
 * or that are not known are left out, because their readers take "not there" and stumble over "empty".
 * @param list how to look at the real host's /sys, whose entries of the same kind are hidden
 */
export function sysfsTree(
  host: HostDescription,
  list: ListDirectory = listRealDirectory,
  kinds: DeviceKinds = DEVICE_KINDS,
): FileTree {
  const tree = new TreeBuilder();
  addPciDevices(tree, host, kinds);
  addMediatedDevices(tree, host);
  addIommuGroups(tree, host);
  addIommuClass(tree, host);
  addModules(tree, host);
  addVfioDevices(tree, host);
  return tree.build(grafts(list));
}

/**
 * Where the tree meets the real one: our entries win, everything else stays, except what would be a second, real machine:
 * its PCI devices, IOMMUs, groups and VFIO.
 */
function grafts(list: ListDirectory): readonly Graft[] {
  return [
    { directory: "/sys/bus", hidden: ["mdev"] },
    { directory: "/sys/bus/pci", hidden: ["*"] },
    { directory: "/sys/devices", hidden: list("/sys/devices").filter((name) => /^pci[0-9a-f]{4,8}:/.test(name)) },
    { directory: "/sys/devices/virtual", hidden: ["iommu", "vfio"] },
    { directory: "/sys/kernel", hidden: ["iommu_groups"] },
    { directory: "/sys/class", hidden: ["iommu", "vfio", "vfio-dev", "mdev_bus"] },
    { directory: "/sys/module", hidden: list("/sys/module").filter(isVfioModule) },
    { directory: "/dev", hidden: ["vfio", "iommu"] },
  ];
}

function listRealDirectory(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
