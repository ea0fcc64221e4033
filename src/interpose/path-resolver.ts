import fs from "node:fs";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import type { Steps } from "./aside/aside-jobs.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import {
  AT_FDCWD,
  F_DUPFD_CLOEXEC,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_HOW_SIZE,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  STATX,
} from "./linux.ts";
import type { NodeFiles } from "./node-files.ts";
import { lastStat, openPath, statDescriptor, statDescriptorTo } from "./path-stat.ts";
import type { SlowLooks } from "./slow-looks.ts";

const HOW = 0;
const PATH = 32;
const PATH_MAX = 4096;
const arena = new Arena(PATH + 2 * PATH_MAX);

/** An outcome of open_how and the path in a room: the file's stat behind them. */
const ROOM_STAT = 8192;

/**
 * Which node a path means to a thread, whatever its root, working directory, mounts and symbolic links are. The file's
 * stat is left in lastStat.
 */
export class PathResolver {
  readonly #nodes: NodeFiles;
  readonly #looks: SlowLooks;
  #flags = 0;

  constructor(nodes: NodeFiles, looks: SlowLooks) {
    this.#nodes = nodes;
    this.#looks = looks;
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
    const how = resolve | RESOLVE_NO_MAGICLINKS;
    arena.setU64(HOW + 16, how | RESOLVE_CACHED);
    const found = syscall(HOST_CALLS.openat2, start, arena.text(PATH, path), arena.address + HOW, OPEN_HOW_SIZE);
    if (found === -ERRNO.EAGAIN) {
      try {
        const stat = this.#looks.take(tid, `walk ${base} ${how} ${path}`, walkSteps(start, path, this.#flags, how));
        if (typeof stat === "number") return linkOnTheWay(stat, resolve);
        lastStat.bytes.set(stat);
        return this.#nodes.findLastStat();
      } finally {
        close(start);
      }
    }
    close(start);
    if (found < 0) return linkOnTheWay(found, resolve);
    const node = statDescriptor(found) === 0 ? this.#nodes.findLastStat() : undefined;
    close(found);
    return node;
  }
}

/**
 * A walk through what is not in memory, and perhaps served by a program, to be made aside. The file's stat, or a negative errno.
 * @param start a descriptor of the directory to begin in
 */
function walkSteps(start: number, path: string, flags: number, resolve: number): Steps<Buffer | number> {
  return function* (room) {
    const own = syscall(HOST_CALLS.fcntl, start, F_DUPFD_CLOEXEC, 3);
    try {
      for (const [index, word] of [flags, 0, resolve].entries()) room.bytes.writeBigUInt64LE(BigInt(word), 8 * index);
      room.bytes.write(`${path}\0`, PATH);
      const found = yield [HOST_CALLS.openat2, own, room.address + PATH, room.address, OPEN_HOW_SIZE];
      if (found < 0) return found;
      const stat = statDescriptorTo(found, room.address + ROOM_STAT);
      close(found);
      return stat < 0 ? stat : Buffer.from(room.bytes.subarray(ROOM_STAT, ROOM_STAT + STATX.length));
    } finally {
      if (own >= 0) close(own);
    }
  };
}

function linkOnTheWay(errno: number, resolve: number): "symlink" | undefined {
  return errno === -ERRNO.ELOOP && resolve === RESOLVE_NO_SYMLINKS ? "symlink" : undefined;
}
