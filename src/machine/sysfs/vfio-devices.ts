import { Release } from "../../kernel/releases.ts";
import {
  devicesWithNodes,
  groupNodePath,
  hasVfioDriver,
  VFIO_DEVICE_MAJOR,
  VFIO_GROUP_MAJOR,
  vfioDevices,
} from "../device-nodes.ts";
import type { HostDescription } from "../host-description.ts";
import { devicePath } from "./device-path.ts";
import type { TreeBuilder } from "./tree-builder.ts";

/** VFIO's own classes: the groups' nodes, and with iommufd the devices' (QEMU finds /dev/vfio/devices/vfioN through vfio-dev). */
export function addVfioDevices(tree: TreeBuilder, host: HostDescription): void {
  // The nodes themselves are deviceNodes(); opening their directories is EISDIR (recorded in g_open_bad).
  tree.directory("/dev/vfio");
  const groups = host.groups.filter((group) => group.devices.some(hasVfioDriver));
  for (const [minor, group] of groups.entries()) {
    const node = groupNodePath(group).slice("/dev/".length);
    const name = node.slice("vfio/".length);
    addNode(tree, { at: `/sys/devices/virtual/vfio/${name}`, class: "vfio", node, major: VFIO_GROUP_MAJOR, minor });
  }
  if (new Release(host.kernel).has("deviceClass"))
    for (const { device, index } of vfioDevices(host))
      tree.directory(`${devicePath(host, device)}/vfio-dev/vfio${index}`);
  const withNodes = devicesWithNodes(host);
  if (withNodes.length === 0) return;
  tree.directory("/dev/vfio/devices");
  for (const { device, index } of withNodes) {
    const at = `${devicePath(host, device)}/vfio-dev/vfio${index}`;
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
