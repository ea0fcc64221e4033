import type { DeviceNode } from "../kernel/host-kernel.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { Credentials } from "./credentials.ts";
import { briefly, closeBrief, refuseNotedShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { Ids } from "./identity.ts";
import type { InjectedFile, Owned } from "./injected-file.ts";
import type { InjectedFiles } from "./injected-files.ts";
import type { LedTree } from "./led-tree.ts";
import { syscall } from "./libc.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_HOW_SIZE,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFMT,
  ST_NODEV,
} from "./linux.ts";
import type { NodeFiles } from "./node-files.ts";
import { statAside } from "./path-aside.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";
import { walk } from "./path-walk.ts";
import type { ProcessTable } from "./process-table.ts";
import type { SlowLooks } from "./slow-looks.ts";
import type { SysfsMounts } from "./sysfs-mounts.ts";

const HOW = 0;
const PATH = 32;
const PATH_MAX = 4096;
const STATFS = PATH + PATH_MAX;
const arena = new Arena(STATFS + 128);

interface Tools {
  readonly nodes: NodeFiles;
  readonly files: InjectedFiles;
  readonly credentials: Credentials;
  readonly looks: SlowLooks;
  readonly processes: ProcessTable;
  readonly tree: LedTree | undefined;
}

/** An open() that a thread asks for. */
export interface Opening {
  readonly tid: number;
  /** Where a relative path begins: a descriptor of the thread, or AT_FDCWD. */
  readonly directory: number;
  /** Bytes as characters. */
  readonly path: string;
  readonly flags: number;
  /** RESOLVE_* of openat2(), else 0. */
  readonly resolve: number;
}

/** What an open() leads to: a node, or a file of ours that is opened once more through /proc/self/fd. */
interface Found extends Owned {
  readonly node?: DeviceNode;
  readonly file?: InjectedFile;
  /** struct statx of it, or of what stands in for it. */
  readonly stat: Buffer;
}

/**
 * What a quick look tells: that, or that it takes following each link; "elsewhere" is what is there and none of ours,
 * undefined what is not there.
 */
type Seen = Found | "follow" | "elsewhere" | undefined;

/** That, and who opens it. */
export interface Target extends Found {
  readonly ids: Ids;
}

/**
 * Which node or file of ours a path means to a thread, if the kernel would let that thread get there. Undefined leaves
 * the open() to the kernel, so that every refusal is its own; should it open a node's stand-in after all, that becomes
 * the real thing at its first use.
 */
export class PathResolver {
  readonly #nodes: NodeFiles;
  readonly #files: InjectedFiles;
  readonly #credentials: Credentials;
  readonly #looks: SlowLooks;
  readonly #processes: ProcessTable;
  readonly #tree: LedTree | undefined;

  constructor({ nodes, files, credentials, looks, processes, tree }: Tools) {
    this.#tree = tree;
    this.#processes = processes;
    this.#nodes = nodes;
    this.#files = files;
    this.#credentials = credentials;
    this.#looks = looks;
  }

  resolve(given: Opening): Target | undefined {
    if (given.path === "" || given.path.length >= PATH_MAX) return undefined;
    const led = isScoped(given.resolve) ? undefined : this.#tree?.lead(given.tid, given.directory, given.path);
    const opening = led === undefined ? given : { ...given, path: led };
    const { tid, directory, path, resolve } = opening;
    const root =
      led === undefined ? start(tid, "root") : briefly(() => openPath(this.#tree!.fd, ".", O_PATH | O_CLOEXEC));
    if (root < 0) {
      if (this.#nodes.hasPath(path)) refuseNotedShortage();
      return undefined;
    }
    const fromRoot = path.startsWith("/") && !isScoped(resolve);
    const base = fromRoot ? root : start(tid, startName(directory));
    try {
      const seen = base < 0 ? undefined : this.#look(opening, root, base);
      return seen === undefined || seen === "elsewhere" ? undefined : this.#exactly(opening, root, base, seen);
    } finally {
      if (base >= 0 && base !== root) closeBrief(base);
      closeBrief(root);
    }
  }

  /**
   * Whether a path goes through links that lead where their text does not tell, as those of /proc/self/fd do. In doubt
   * it does.
   */
  isMagic(opening: Opening): boolean {
    const { tid, directory, path } = opening;
    const base = start(tid, path.startsWith("/") ? "root" : startName(directory));
    if (base < 0) return false;
    try {
      return this.#look({ ...opening, resolve: 0 }, base, base) === "follow";
    } finally {
      closeBrief(base);
    }
  }

  /** Whether there is nothing at an absolute path without links, in the thread's root. */
  isMissing({ tid, path }: Pick<Opening, "tid" | "path">): boolean {
    const at = start(tid, "root");
    if (at < 0) return false;
    const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
    try {
      const found = openAs(at, path, 0, resolve | RESOLVE_CACHED);
      if (found >= 0) closeBrief(found);
      if (found !== -ERRNO.EAGAIN) return found === -ERRNO.ENOENT;
      return statAside(this.#looks, tid, { at, path, flags: O_PATH | O_CLOEXEC, resolve }) === -ERRNO.ENOENT;
    } finally {
      closeBrief(at);
    }
  }

  /** Whether an absolute path leads, in the thread's root, to a file on these file systems. */
  isOn(mounts: SysfsMounts, { tid, path }: Pick<Opening, "tid" | "path">): boolean {
    const at = start(tid, "root");
    if (at < 0) return false;
    const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    try {
      const stat = statAside(this.#looks, tid, { at, path, flags: O_PATH | O_CLOEXEC, resolve });
      if (typeof stat === "number") return false;
      lastStat.bytes.set(stat);
      return mounts.hasLastStat();
    } finally {
      closeBrief(at);
    }
  }

  /** One quick look with our own rights: most paths lead elsewhere. "follow" when only following each link can tell. */
  #look(opening: Opening, root: number, base: number): Seen {
    if (isScoped(opening.resolve)) return "follow";
    // From the thread's root all links mean what they mean to it; from elsewhere an absolute one would lead into our
    // own root.
    if (!opening.path.startsWith("/")) return this.#glance(opening, base, RESOLVE_NO_SYMLINKS);
    const found = this.#glance(opening, root, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (found !== undefined) return found;
    // What is not there may be there by a link that means something else to the thread than to us, /proc/self. What is
    // there and is not ours is none for the thread either: below /proc/self all ways out are of the kind that the look
    // before does not take.
    const plain = this.#glance(opening, root, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    return plain === "follow" ? plain : undefined;
  }

  #glance({ tid, path, flags }: Opening, at: number, resolve: number): Seen {
    const found = openAs(at, path, flags, resolve | RESOLVE_CACHED);
    if (found === -ERRNO.ELOOP) return "follow";
    if (found !== -ERRNO.EAGAIN) return found < 0 ? undefined : (this.#take(found) ?? "elsewhere");
    const how = O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW);
    const stat = statAside(this.#looks, tid, { at, path, flags: how, resolve });
    if (typeof stat === "number") return stat === -ERRNO.ELOOP ? "follow" : undefined;
    lastStat.bytes.set(stat);
    // It is in memory now.
    return this.#nodes.findLastStat() || this.#files.findLastStat() ? "follow" : "elsewhere";
  }

  #exactly(opening: Opening, root: number, base: number, seen: Found | "follow"): Target | undefined {
    const { tid, path, flags, resolve } = opening;
    const ids = this.#credentials.assume(tid, this.#processes.led(tid));
    // From its root, and with rights like its own, we have seen what the thread sees.
    if (seen !== "follow" && ids.isOurs && path.startsWith("/") && resolve === 0) return { ...seen, ids };
    // Within a directory the kernel can walk for us, whoever we are.
    const scope = resolve | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED;
    const found = isScoped(resolve)
      ? ids.during(() => openAs(base, path, flags, scope))
      : walk({ root, base, tid, ids, looks: this.#looks }, path, flags, resolve);
    const target = found === undefined ? undefined : this.#take(found);
    return target && { ...target, ids };
  }

  /**
   * The node or file of ours that an O_PATH descriptor is of, which is closed. Undefined for others, and where no
   * device may be opened.
   */
  #take(fd: number): Found | undefined {
    if (fd < 0) return undefined;
    const found = this.#find(fd);
    const isRefused = found && (lastStat.mode & S_IFMT) === S_IFCHR && (mountFlags(fd) & ST_NODEV) !== 0;
    closeBrief(fd);
    return isRefused ? undefined : found;
  }

  #find(fd: number): Found | undefined {
    if (statDescriptor(fd) < 0) return undefined;
    const node = this.#nodes.findLastStat();
    const file = node === undefined ? this.#files.findLastStat() : undefined;
    if (node === undefined && file === undefined) return undefined;
    const { mode, uid, gid } = lastStat;
    return { ...(node && { node }), ...(file && { file }), mode, uid, gid, stat: Buffer.from(lastStat.bytes) };
  }
}

function isScoped(resolve: number): boolean {
  return (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0;
}

function startName(directory: number): string {
  return directory === AT_FDCWD ? "cwd" : `fd/${directory}`;
}

function start(tid: number, name: string): number {
  return briefly(() => openPath(AT_FDCWD, `/proc/${tid}/${name}`, O_PATH | O_CLOEXEC));
}

/** openat2() with O_PATH. */
function openAs(directory: number, path: string, flags: number, resolve: number): number {
  arena.setU64(HOW, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW));
  arena.setU64(HOW + 8, 0);
  arena.setU64(HOW + 16, resolve);
  const text = arena.byteText(PATH, path);
  return briefly(() => syscall(HOST_CALLS.openat2, directory, text, arena.address + HOW, OPEN_HOW_SIZE));
}

/** How the filesystem of a node or a file of ours is mounted. */
function mountFlags(fd: number): number {
  // struct statfs: f_flags u64@80
  return syscall(HOST_CALLS.fstatfs, fd, arena.address + STATFS) < 0 ? ST_NODEV : arena.u64(STATFS + 80);
}
