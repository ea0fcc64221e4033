import type { DeviceNode } from "../kernel/host-kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import type { Credentials } from "./credentials.ts";
import { briefly, closeBrief, refuseNotedShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { InjectedFile } from "./injected-file.ts";
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
import { fileSystem, type Walker, walk } from "./path-walk.ts";

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
export interface Target {
  readonly node?: DeviceNode;
  readonly file?: InjectedFile;
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

  /** The file's stat is left in lastStat. */
  resolve(opening: Opening): Target | undefined {
    const { tid, directory, path, resolve } = opening;
    if (path === "" || path.length >= PATH_MAX) return undefined;
    const root = start(tid, "root");
    if (root < 0) {
      if (this.#nodes.hasPath(path)) refuseNotedShortage();
      return undefined;
    }
    const fromRoot = path.startsWith("/") && !isScoped(resolve);
    const base = fromRoot ? root : start(tid, directory === AT_FDCWD ? "cwd" : `fd/${directory}`);
    try {
      if (base < 0 || !this.#mayBeMeant(opening, root, base)) return undefined;
      return this.#exactly(opening, root, base);
    } finally {
      if (base >= 0 && base !== root) closeBrief(base);
      closeBrief(root);
    }
  }

  /** One quick look with our own rights: most paths lead elsewhere. True when only following each link can tell. */
  #mayBeMeant({ path, resolve }: Opening, root: number, base: number): boolean {
    if (isScoped(resolve)) return true;
    const isAbsolute = path.startsWith("/");
    // From the thread's root all links mean what they mean to it; from elsewhere an absolute one would lead into our own root.
    const rule = isAbsolute ? RESOLVE_IN_ROOT : RESOLVE_NO_SYMLINKS;
    const found = openAs(isAbsolute ? root : base, path, 0, rule | RESOLVE_NO_MAGICLINKS);
    if (found < 0) return found === -ERRNO.ELOOP;
    const meant = this.#find(found) !== undefined;
    closeBrief(found);
    return meant;
  }

  #exactly({ tid, path, flags, resolve }: Opening, root: number, base: number): Target | undefined {
    const ids = this.#credentials.assume(tid);
    if (ids === undefined) return undefined;
    let found: number | undefined;
    try {
      const { fsuid, pid } = ids;
      const walker: Walker = { root, base, pid, tid, fsuid };
      // Within a directory the kernel can walk for us, whoever we are.
      found = isScoped(resolve)
        ? openAs(base, path, flags, resolve | RESOLVE_NO_MAGICLINKS)
        : walk(walker, path, flags, resolve);
    } finally {
      ids.giveBack();
    }
    if (found === undefined || found < 0) return undefined;
    const target = this.#find(found);
    const isRefused = (lastStat.mode & S_IFMT) === S_IFCHR && (fileSystem(found).flags & ST_NODEV) !== 0;
    closeBrief(found);
    return isRefused ? undefined : target;
  }

  #find(fd: number): Target | undefined {
    if (statDescriptor(fd) < 0) return undefined;
    const node = this.#nodes.findLastStat();
    if (node !== undefined) return { node };
    const file = this.#files.findLastStat();
    return file && { file };
  }
}

function isScoped(resolve: number): boolean {
  return (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0;
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
