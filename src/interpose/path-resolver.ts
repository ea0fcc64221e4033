import fs from "node:fs";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_HOW_SIZE,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "./linux.ts";
import type { NodeFiles } from "./node-files.ts";
import { openPath, statDescriptor } from "./path-stat.ts";

const HOW = 0;
const PATH = 32;
const PATH_MAX = 4096;
const arena = new Arena(PATH + 2 * PATH_MAX);

/**
 * Which node a path means to a thread, whatever its root, working directory, mounts and symbolic links are. The file's
 * stat is left in lastStat.
 */
export class PathResolver {
  readonly #nodes: NodeFiles;
  #flags = 0;

  constructor(nodes: NodeFiles) {
    this.#nodes = nodes;
  }

  /** @param flags of the open() that this is for */
  resolve(tid: number, directory: number, path: string, flags: number): DeviceNode | undefined {
    this.#flags = O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW);
    if (path === "" || path.length >= PATH_MAX) return undefined;
    if (path.startsWith("/")) return this.#walk(tid, "root", path, RESOLVE_IN_ROOT);
    const base = directory === AT_FDCWD ? "cwd" : `fd/${directory}`;
    const node = this.#walk(tid, base, path, RESOLVE_NO_SYMLINKS);
    if (node !== "symlink") return node;
    // An absolute link would lead into our own root. From the thread's root all links mean what they mean to it.
    try {
      const here = fs.readlinkSync(`/proc/${tid}/${base}`);
      return this.#walk(tid, "root", `${here}/${path}`, RESOLVE_IN_ROOT);
    } catch {
      return undefined;
    }
  }

  #walk(tid: number, base: string, path: string, resolve: typeof RESOLVE_IN_ROOT): DeviceNode | undefined;
  #walk(tid: number, base: string, path: string, resolve: number): DeviceNode | "symlink" | undefined;
  #walk(tid: number, base: string, path: string, resolve: number): DeviceNode | "symlink" | undefined {
    const start = openPath(AT_FDCWD, `/proc/${tid}/${base}`, O_PATH | O_CLOEXEC);
    if (start < 0) return undefined;
    arena.setU64(HOW, this.#flags);
    arena.setU64(HOW + 8, 0);
    // Links like /proc/self/exe mean the one who walks: us. None of them leads to a node.
    arena.setU64(HOW + 16, resolve | RESOLVE_NO_MAGICLINKS);
    const found = syscall(HOST_CALLS.openat2, start, arena.text(PATH, path), arena.address + HOW, OPEN_HOW_SIZE);
    close(start);
    if (found < 0) return found === -ERRNO.ELOOP && resolve === RESOLVE_NO_SYMLINKS ? "symlink" : undefined;
    const node = statDescriptor(found) === 0 ? this.#nodes.findLastStat() : undefined;
    close(found);
    return node;
  }
}
