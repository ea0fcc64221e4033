import type { DeviceNode } from "../kernel/host-kernel.ts";
import { Arena } from "../native/arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  OPEN_HOW_SIZE,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFMT,
} from "./linux.ts";
import { NULL_DEVICE } from "./null-device.ts";
import { lastStat, statPath } from "./path-stat.ts";

interface NodeFile {
  readonly node: DeviceNode;
  readonly inode: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** Who makes and removes the files in a program's tree. */
export interface NodeAuthor {
  /** They may be device nodes; otherwise plain files stand in. */
  readonly makesDevices: boolean;
  /** Makes system calls with the rights that count for it. */
  during<T>(act: () => T): T | undefined;
}

const THIS_PROCESS: NodeAuthor = { makesDevices: true, during: (act) => act() };

// struct open_how @0, a path @32
const PATH = 32;
const arena = new Arena(1024);

/** The files that stand for device nodes in the program's tree, recognized by inode: a path has many spellings. */
export class NodeFiles {
  readonly #root: number;
  readonly #byInode = new Map<number, NodeFile>();
  readonly #byPath = new Map<string, NodeFile | undefined>();
  /** By "major:minor", of those that have a file. */
  readonly #byNumber = new Map<string, DeviceNode>();
  /** The file system of the machine's own nodes, which are no copies of ours whatever their numbers: "major:minor". */
  readonly #ownNodes: string;

  readonly #author: NodeAuthor | undefined;

  /**
   * @param root a descriptor of the program's root directory
   * @param author null: nobody, the tree has the nodes that it was given (a container's)
   */
  constructor(root: number, nodes: readonly DeviceNode[], author: NodeAuthor | null = THIS_PROCESS) {
    this.#root = root;
    this.#author = author ?? undefined;
    this.#ownNodes = statPath(AT_FDCWD, "/dev/null") === 0 ? fileSystem() : "";
    for (const node of nodes) this.#know(node);
  }

  /** Nodes have come or gone: so do their files. */
  update(nodes: readonly DeviceNode[]): void {
    const author = this.#author;
    if (author === undefined) {
      // what stands for a node that is gone answers as the host does: there is none
      for (const node of nodes) if (this.#byPath.get(node.path) === undefined) this.#know(node);
      return;
    }
    const now = new Set(nodes.map(({ path }) => path));
    for (const path of this.#byPath.keys()) if (!now.has(path)) author.during(() => this.#remove(path));
    for (const node of nodes) {
      if (this.#byPath.has(node.path)) continue;
      author.during(() => this.#make(node, author.makesDevices));
      this.#know(node);
    }
  }

  /** Whether a path is a node's in its shortest form: to a thread with the program's root. */
  hasPath(path: string): boolean {
    return this.#byPath.has(path);
  }

  /** The node whose file the last statx() saw, or a device node with its number that a program has made (mknod). */
  findLastStat(): DeviceNode | undefined {
    const file = this.#byInode.get(lastStat.inode);
    if (file?.deviceMajor === lastStat.deviceMajor && file.deviceMinor === lastStat.deviceMinor) return file.node;
    if ((lastStat.mode & S_IFMT) !== S_IFCHR) return undefined;
    const copied = this.#byNumber.get(lastStat.device);
    return copied === undefined || fileSystem() === this.#ownNodes ? undefined : copied;
  }

  #know(node: DeviceNode): void {
    let file: NodeFile | undefined;
    if (statPath(this.#root, node.path.slice(1)) === 0) {
      const { inode, deviceMajor, deviceMinor } = lastStat;
      file = { node, inode, deviceMajor, deviceMinor };
      this.#byInode.set(inode, file);
      this.#byNumber.set(`${node.major}:${node.minor}`, node);
    }
    this.#byPath.set(node.path, file);
  }

  #remove(path: string): void {
    const file = this.#byPath.get(path);
    this.#byPath.delete(path);
    if (file !== undefined) {
      this.#byInode.delete(file.inode);
      this.#byNumber.delete(`${file.node.major}:${file.node.minor}`);
    }
    this.#within(path, (directory, name) => syscall(HOST_CALLS.unlinkat, directory, name, 0));
  }

  #make({ path, mode }: DeviceNode, isDevice: boolean): void {
    const below = path.slice(1, path.lastIndexOf("/"));
    this.#within(`/${below}`, (directory, name) => syscall(HOST_CALLS.mkdirat, directory, name, 0o755));
    this.#within(path, (directory, name) => {
      if (isDevice && syscall(HOST_CALLS.mknodat, directory, name, S_IFCHR | mode, NULL_DEVICE) >= 0) return;
      // In a user namespace mknod is EPERM, and a plain file stands in.
      const flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
      const fd = syscall(HOST_CALLS.openat, directory, name, flags, mode);
      if (fd >= 0) close(fd);
    });
  }

  /**
   * Does something with a name in its directory, which is looked for without following a link: the program may have put
   * one there.
   */
  #within(path: string, act: (directory: number, name: number) => void): void {
    const slash = path.lastIndexOf("/");
    arena.setU64(0, O_PATH | O_DIRECTORY | O_CLOEXEC);
    arena.setU64(8, 0);
    arena.setU64(16, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    const above = arena.text(PATH, path.slice(1, slash));
    const directory = syscall(HOST_CALLS.openat2, this.#root, above, arena.address, OPEN_HOW_SIZE);
    if (directory < 0) return;
    act(directory, arena.text(PATH, path.slice(slash + 1)));
    close(directory);
  }
}

/** Where the last statx() was: "major:minor" of its file system. */
function fileSystem(): string {
  return `${lastStat.deviceMajor}:${lastStat.deviceMinor}`;
}
