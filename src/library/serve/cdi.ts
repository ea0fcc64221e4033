import type { DeviceNode } from "../../kernel/host-kernel.ts";
import { groupNodePath } from "../../machine/device-nodes.ts";
import { deviceName } from "../../machine/find-device.ts";
import type { GroupDescription } from "../../machine/host-description.ts";

/** The release of the CDI specification with the fields that are used here. */
const VERSION = "0.5.0";
/** What stands in `--device uvfio.local/vfio=1`. */
const KIND = "uvfio.local/vfio";
/** Nodes that belong to no group. */
const COMMON = /^\/dev\/(?:vfio\/vfio|iommu)$/;

interface NodeEdit {
  readonly path: string;
  readonly type: "c";
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly permissions: "rw";
}

interface Edits {
  readonly deviceNodes?: readonly NodeEdit[];
  readonly mounts?: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly options: readonly string[];
  }[];
}

/** A CDI specification: what a container gets with a device. */
export interface CdiSpec {
  readonly cdiVersion: string;
  readonly kind: string;
  readonly containerEdits: Edits;
  readonly devices: readonly { readonly name: string; readonly containerEdits: Edits }[];
}

/** What of a host goes into a container, and how each part is called. */
export interface CdiHost {
  readonly groups: readonly GroupDescription[];
  readonly nodes: readonly DeviceNode[];
  /** The node of a device's own; undefined when it has none. */
  deviceNode(device: string): string | undefined;
  /** Where the host's /sys is mounted; left out, containers see the real machine's. */
  readonly sysfs: string | undefined;
}

/** Devices are called by the number of their group, and by their name; "all" has all. */
export function cdiSpec({ groups, nodes, deviceNode, sysfs }: CdiHost): CdiSpec {
  const edit = (paths: readonly string[]): Edits => ({
    deviceNodes: nodes.filter(({ path }) => paths.includes(path)).map(nodeEdit),
  });
  const devices = groups.flatMap((group) => {
    const names = group.devices.map(deviceName);
    const paths = (some: readonly string[]) => [
      groupNodePath(group),
      ...some.flatMap((name) => deviceNode(name) ?? []),
    ];
    const all = { name: String(group.id), containerEdits: edit(paths(names)) };
    return [all, ...names.map((name) => ({ name, containerEdits: edit(paths([name])) }))];
  });
  const mount = (path: string) => ({
    hostPath: path,
    containerPath: "/sys",
    options: ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rw"],
  });
  return {
    cdiVersion: VERSION,
    kind: KIND,
    containerEdits: {
      ...edit(nodes.map(({ path }) => path).filter((path) => COMMON.test(path))),
      ...(sysfs !== undefined && { mounts: [mount(sysfs)] }),
    },
    devices: [
      ...devices.filter(({ containerEdits }) => containerEdits.deviceNodes!.length > 0),
      { name: "all", containerEdits: edit(nodes.map(({ path }) => path).filter((path) => !COMMON.test(path))) },
    ],
  };
}

function nodeEdit({ path, major, minor, mode }: DeviceNode): NodeEdit {
  return { path, type: "c", major, minor, fileMode: mode & 0o777, permissions: "rw" };
}
