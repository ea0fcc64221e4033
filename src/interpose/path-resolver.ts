import type { DeviceNode } from "../kernel/host-kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import type { Credentials } from "./credentials.ts";
import { briefly, closeBrief, refuseNotedShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { Ids } from "./identity.ts";
import type { InjectedFile, Owned } from "./injected-file.ts";
import type { InjectedFiles } from "./injected-files.ts";
import { syscall } from "./libc.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_HOW_SIZE,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFMT,
  ST_NODEV,
} from "./linux.ts";
import type { NodeFiles } from "./node-files.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";
import { fileSystem, walk } from "./path-walk.ts";

const HOW = 0;
const PATH = 32;
const PATH_MAX = 4096;
const arena = new Arena(PATH + PATH_MAX);

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
}

/** That, and who opens it. */
export interface Target extends Found {
  readonly ids: Ids;
}

/**
 * Which node or file of ours a path means to a thread, if the kernel would let that thread get there. Undefined leaves the open() to the
 * kernel, so that every refusal is its own; should it open a node's stand-in after all, that becomes the real thing at its first use.
 */
export class PathResolver {
  readonly #nodes: NodeFiles;
  readonly #files: InjectedFiles;
  readonly #credentials: Credentials;

  constructor(nodes: NodeFiles, files: InjectedFiles, credentials: Credentials) {
    this.#nodes = nodes;
    this.#files = files;
    this.#credentials = credentials;
  }

  resolve(opening: Opening): Target | undefined {
    const { tid, directory, path, resolve } = opening;
    if (path === "" || path.length >= PATH_MAX) return undefined;
    const root = start(tid, "root");
    if (root < 0) {
      if (this.#nodes.hasPath(path)) refuseNotedShortage();
      return undefined;
    }
    const fromRoot = path.startsWith("/") && !isScoped(resolve);
    const base = fromRoot ? root : start(tid, startName(directory));
    try {
      const seen = base < 0 ? undefined : this.#look(opening, root, base);
      return seen && this.#exactly(opening, root, base, seen);
    } finally {
      if (base >= 0 && base !== root) closeBrief(base);
      closeBrief(root);
    }
  }

  /** Whether a path goes through links that lead where their text does not tell, as those of /proc/self/fd do. In doubt it does. */
  isMagic(opening: Opening): boolean {
    const { tid, directory, path } = opening;
    const base = start(tid, path.startsWith("/") ? "root" : startName(directory));
    if (base < 0) return false;
    const found = lookOnce({ ...opening, resolve: 0 }, base, base);
    if (found >= 0) closeBrief(found);
    closeBrief(base);
    return found === -ERRNO.ELOOP;
  }

  /** One quick look with our own rights: most paths lead elsewhere. "follow" when only following each link can tell. */
  #look(opening: Opening, root: number, base: number): Found | "follow" | undefined {
    if (isScoped(opening.resolve)) return "follow";
    const found = lookOnce(opening, root, base);
    return found === -ERRNO.ELOOP ? "follow" : this.#take(found);
  }

  #exactly(opening: Opening, root: number, base: number, seen: Found | "follow"): Target | undefined {
    const { tid, path, flags, resolve } = opening;
    const ids = this.#credentials.assume(tid);
    if (ids === undefined) return undefined;
    // From its root, and with rights like its own, we have seen what the thread sees.
    if (seen !== "follow" && ids.isOurs && path.startsWith("/") && resolve === 0) return { ...seen, ids };
    let found: number | undefined;
    try {
      // Within a directory the kernel can walk for us, whoever we are.
      found = isScoped(resolve)
        ? openAs(base, path, flags, resolve | RESOLVE_NO_MAGICLINKS)
        : walk({ root, base, pid: ids.pid, tid, fsuid: ids.fsuid }, path, flags, resolve);
    } finally {
      ids.giveBack();
    }
    const target = found === undefined ? undefined : this.#take(found);
    return target && { ...target, ids };
  }

  /** The node or file of ours that an O_PATH descriptor is of, which is closed. Undefined for others, and where no device may be opened. */
  #take(fd: number): Found | undefined {
    if (fd < 0) return undefined;
    const found = this.#find(fd);
    const isRefused = found && (lastStat.mode & S_IFMT) === S_IFCHR && (fileSystem(fd).flags & ST_NODEV) !== 0;
    closeBrief(fd);
    return isRefused ? undefined : found;
  }

  #find(fd: number): Found | undefined {
    if (statDescriptor(fd) < 0) return undefined;
    const node = this.#nodes.findLastStat();
    const { mode, uid, gid } = lastStat;
    if (node !== undefined) return { node, mode, uid, gid };
    const file = this.#files.findLastStat();
    return file && { file, mode, uid, gid };
  }
}

function isScoped(resolve: number): boolean {
  return (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0;
}

function startName(directory: number): string {
  return directory === AT_FDCWD ? "cwd" : `fd/${directory}`;
}

/** Follows a path at once, from the thread's root, where all links mean what they mean to it; from elsewhere an absolute one would lead into our own root. */
function lookOnce({ path, flags }: Opening, root: number, base: number): number {
  if (!path.startsWith("/")) return openAs(base, path, flags, RESOLVE_NO_SYMLINKS);
  const found = openAs(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (found >= 0 || found === -ERRNO.ELOOP) return found;
  // What is not there may be there by a link that means something else to the thread than to us, /proc/self.
  const plain = openAs(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
  if (plain >= 0) closeBrief(plain);
  return plain === -ERRNO.ELOOP ? plain : found;
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
