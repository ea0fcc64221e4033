import type { DeviceNode } from "../kernel/host-kernel.ts";
import { lastStat, statPath } from "./path-stat.ts";

interface NodeFile {
  readonly node: DeviceNode;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** The files that stand for device nodes in the program's tree, recognized by inode: a path has many spellings. */
export class NodeFiles {
  readonly #byInode = new Map<number, NodeFile>();
  readonly #paths: ReadonlySet<string>;

  /** @param root a descriptor of the program's root directory */
  constructor(root: number, nodes: readonly DeviceNode[]) {
    this.#paths = new Set(nodes.map(({ path }) => path));
    for (const node of nodes) {
      if (statPath(root, node.path.slice(1)) < 0) continue;
      const { inode, deviceMajor, deviceMinor } = lastStat;
      this.#byInode.set(inode, { node, deviceMajor, deviceMinor });
    }
  }

  /** Whether a path is a node's in its shortest form: to a thread with the program's root. */
  hasPath(path: string): boolean {
    return this.#paths.has(path);
  }

  /** The node whose file the last statx() saw. */
  findLastStat(): DeviceNode | undefined {
    const file = this.#byInode.get(lastStat.inode);
    if (file === undefined) return undefined;
    return file.deviceMajor === lastStat.deviceMajor && file.deviceMinor === lastStat.deviceMinor
      ? file.node
      : undefined;
  }
}
