import { readdirSync } from "node:fs";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import type { FileTree, Graft } from "../kernel/file-tree.ts";
import { deviceName } from "./find-device.ts";
import type { GroupDescription, HostDescription } from "./host-description.ts";
import { bootState } from "./sysfs/boot-state.ts";
import { addFaultInjection } from "./sysfs/fault-injection.ts";
import { addIommuClass, addIommuLinks } from "./sysfs/iommu-class.ts";
import { addIommuGroup } from "./sysfs/iommu-groups.ts";
import { addMediatedDevices } from "./sysfs/mediated-devices.ts";
import { addModules, isVfioModule } from "./sysfs/modules.ts";
import { addPciBus, addPciDevice } from "./sysfs/pci-devices.ts";
import type { SysfsState } from "./sysfs/sysfs-state.ts";
import { TreeBuilder } from "./sysfs/tree-builder.ts";
import { addVfioClasses, addVfioGroup } from "./sysfs/vfio-devices.ts";

/** Names in a real directory; none when it is not there. */
export type ListDirectory = (directory: string) => readonly string[];

/** How to look at the real host's /sys, whose entries of the same kind are hidden. */
const REAL: ListDirectory = listRealDirectory;

/**
 * What Linux has in /sys for such a host when it has booted: what QEMU, DPDK, libvirt, lspci and scripts look at. Files
 * that the kernel would leave empty or that are not known are left out, because their readers take "not there" and
 * stumble over "empty".
 * @param list how to look at the real host's /sys, whose entries of the same kind are hidden
 */
export function sysfsTree(
  host: HostDescription,
  list: ListDirectory = REAL,
  kinds: DeviceKinds = DEVICE_KINDS,
): FileTree {
  const tree = new TreeBuilder();
  const state = bootState(host);
  addFixedFiles(tree, host, state);
  for (const group of host.groups) addGroupFiles(tree, host, group, state, kinds);
  return tree.build(sysfsGrafts(list));
}

/** What is there whatever the groups' devices are doing: buses, drivers, modules, IOMMUs, and the mediated devices. */
export function addFixedFiles(tree: TreeBuilder, host: HostDescription, state: SysfsState): void {
  tree.directory("/sys/kernel/iommu_groups");
  addPciBus(tree, host, state);
  addMediatedDevices(tree, host, state);
  addIommuClass(tree, host);
  addModules(tree, host, state);
  addVfioClasses(tree, host);
  addFaultInjection(tree, host, state);
}

/** A group, and all that is there because of its devices. */
export function addGroupFiles(
  tree: TreeBuilder,
  host: HostDescription,
  group: GroupDescription,
  state: SysfsState,
  kinds: DeviceKinds,
): void {
  for (const device of group.devices) {
    if (device.bus !== "pci" || !state.isHere(deviceName(device))) continue;
    addPciDevice(tree, host, { device, group }, state, kinds);
    addIommuLinks(tree, host, device, group);
  }
  addIommuGroup(tree, host, group, state);
  addVfioGroup(tree, host, group, state);
}

/**
 * Where the tree meets the real one: our entries win, everything else stays, except what would be a second, real
 * machine: its PCI devices, IOMMUs, groups and VFIO.
 */
export function sysfsGrafts(list: ListDirectory = REAL): readonly Graft[] {
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
