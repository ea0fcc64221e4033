import { Release } from "../../kernel/releases.ts";
import { groupNodePath, haveOwnNodes, VFIO_DEVICE_MAJOR, VFIO_GROUP_MAJOR } from "../device-nodes.ts";
import { deviceName } from "../find-device.ts";
import type { GroupDescription, HostDescription } from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import type { SysfsState } from "./sysfs-state.ts";
import type { TreeBuilder } from "./tree-builder.ts";

/** Directories that VFIO has, also while no device is bound to it. */
export function addVfioClasses(tree: TreeBuilder, host: HostDescription): void {
  // The nodes themselves are deviceNodes(); opening their directories is EISDIR (recorded in g_open_bad).
  tree.directory("/dev/vfio");
  tree.directory("/sys/class/vfio");
  tree.directory("/sys/devices/virtual/vfio");
  if (host.iommufd && new Release(host.kernel).has("deviceClass")) tree.directory("/sys/class/vfio-dev");
}

/**
 * What VFIO has of a group: its node, and with iommufd the devices' (QEMU finds /dev/vfio/devices/vfioN through
 * vfio-dev).
 */
export function addVfioGroup(
  tree: TreeBuilder,
  host: HostDescription,
  group: GroupDescription,
  state: SysfsState,
): void {
  const minor = state.groupMinorOf(group.id);
  if (minor !== undefined) {
    const node = groupNodePath(group).slice("/dev/".length);
    const name = node.slice("vfio/".length);
    addNode(tree, { at: `/sys/devices/virtual/vfio/${name}`, class: "vfio", node, major: VFIO_GROUP_MAJOR, minor });
  }
  const hasClass = new Release(host.kernel).has("deviceClass");
  for (const device of group.devices) {
    const index = state.vfioIndexOf(deviceName(device));
    if (index === undefined) continue;
    const at = `${devicePath(host, device)}/vfio-dev/vfio${index}`;
    if (hasClass) tree.directory(at);
    if (!haveOwnNodes(host, group)) continue;
    tree.directory("/dev/vfio/devices");
    const node = `vfio/devices/vfio${index}`;
    addNode(tree, { at, class: "vfio-dev", node, major: VFIO_DEVICE_MAJOR, minor: index });
    tree.link(`${at}/device`, devicePath(host, device));
  }
}

interface Node {
  readonly at: string;
  readonly class: string;
  /** Below /dev. */
  readonly node: string;
  readonly major: number;
  readonly minor: number;
}

function addNode(tree: TreeBuilder, { at, class: className, node, major, minor }: Node): void {
  tree.line(`${at}/dev`, `${major}:${minor}`);
  tree.line(`${at}/uevent`, `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=${node}`);
  tree.link(`${at}/subsystem`, `/sys/class/${className}`);
  tree.link(`/sys/class/${className}/${at.slice(at.lastIndexOf("/") + 1)}`, at);
}
