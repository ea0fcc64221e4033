import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { briefly, closeBrief } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { Assumed } from "./identity.ts";
import { syscall } from "./libc.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  OPEN_HOW_SIZE,
  PROC_SUPER_MAGIC,
  RESOLVE_CACHED,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  S_IFLNK,
  S_IFMT,
  S_ISVTX,
  ST_NOSYMFOLLOW,
} from "./linux.ts";
import { linkAside, openAside } from "./path-aside.ts";
import { lastStat, statDescriptor, statPath } from "./path-stat.ts";
import type { SlowLooks } from "./slow-looks.ts";

const PATH_MAX = 4096;
/** MAXSYMLINKS (fs/namei.c). */
const MAX_LINKS = 40;
const STICKY_AND_FOR_ALL = S_ISVTX | 0o002;
/** Inode of the root directory of procfs. */
const PROC_ROOT = 1;
const HOW = PATH_MAX + 8;
const arena = new Arena(HOW + OPEN_HOW_SIZE);

/** Who walks, and from where. */
export interface Walker {
  /** O_PATH descriptors of ours: of the thread's root directory, and of the directory that relative paths begin at. */
  readonly root: number;
  readonly base: number;
  readonly tid: number;
  readonly ids: Assumed;
  readonly looks: SlowLooks;
}

/**
 * Follows a path, step by step, to what the kernel would open for another thread: within its root, by its own
 * /proc/self, with every link looked at before it is followed. Each step is an open of one name with the thread's
 * rights, so that the kernel checks the permission to search and crosses mounts. See path_resolution(7), fs/namei.c.
 * What is not in memory is fetched aside before.
 *
 * @param path bytes as characters
 * @param resolve of openat2(): RESOLVE_NO_*; the two that change the root are not for this
 * @returns an O_PATH descriptor, to be closed with closeBrief(); undefined when the kernel would refuse, and whenever
 * that is in doubt
 */
export function walk(walker: Walker, path: string, flags: number, resolve: number): number | undefined {
  const way = new Way(walker, flags, resolve);
  let found: number | undefined;
  try {
    found = way.follow(path) ? way.take() : undefined;
  } finally {
    way.close();
  }
  return found;
}

class Way {
  readonly #walker: Walker;
  readonly #flags: number;
  readonly #resolve: number;
  /** What is to come, the next name last. */
  readonly #names: string[] = [];
  #at: number;
  #links = 0;
  #steps = 0;
  /** The mount that the way began on. */
  #mount = -1;
  /** The process that the directory in hand belongs to, where that is one of procfs. */
  #procPid = "";

  constructor(walker: Walker, flags: number, resolve: number) {
    this.#walker = walker;
    this.#flags = flags;
    this.#resolve = resolve;
    this.#at = walker.base;
  }

  /** Whether the end was reached. */
  follow(path: string): boolean {
    if (!this.#push(path)) return false;
    if (path.startsWith("/")) this.#go(this.#walker.root);
    if (statDescriptor(this.#at) < 0) return false;
    this.#mount = lastStat.mountId;
    while (this.#names.length > 0) if (!this.#next(this.#names.pop()!)) return false;
    return true;
  }

  /** The descriptor of the end, which is the caller's to close. Undefined for a directory to begin in: no node. */
  take(): number | undefined {
    const { root, base } = this.#walker;
    const at = this.#at;
    this.#at = root;
    return at === root || at === base ? undefined : at;
  }

  close(): void {
    this.#go(this.#walker.root);
  }

  #go(to: number): void {
    const { root, base } = this.#walker;
    if (this.#at !== root && this.#at !== base) closeBrief(this.#at);
    this.#at = to;
  }

  /** Puts the names of a path before those that are left. False for one that can only be a directory. */
  #push(path: string): boolean {
    const names = this.#names;
    if (path === "" || path.length >= PATH_MAX) return false;
    if (path.endsWith("/") && names.length === 0) return false;
    for (const name of path.split("/").reverse()) if (name !== "") names.push(name);
    return true;
  }

  #next(name: string): boolean {
    if (statDescriptor(this.#at) < 0) return false;
    const { mode, uid, inode, mountId } = lastStat;
    const isInOwnProc = isOurProc();
    const isAtRoot = name === ".." && this.#isAtRoot(inode, mountId);
    const next = this.#step(isAtRoot ? "." : name, O_NOFOLLOW, isInOwnProc);
    if (next < 0) return false;
    if (statDescriptor(next) < 0) {
      closeBrief(next);
      return false;
    }
    if ((lastStat.mode & S_IFMT) === S_IFLNK)
      return this.#link(next, name, { mode, uid, isProcRoot: inode === PROC_ROOT });
    if (inode === PROC_ROOT && isInOwnProc) this.#procPid = name;
    else if (name === ".." || lastStat.mountId !== mountId) this.#procPid = "";
    this.#go(next);
    return this.#mayBeHere(lastStat.mountId);
  }

  #isAtRoot(inode: number, mountId: number): boolean {
    if (statDescriptor(this.#walker.root) < 0) return true;
    return lastStat.inode === inode && lastStat.mountId === mountId;
  }

  #mayBeHere(mountId: number): boolean {
    return (this.#resolve & RESOLVE_NO_XDEV) === 0 || mountId === this.#mount;
  }

  /** A link, whose stat is in lastStat; its descriptor is closed. */
  #link(link: number, name: string, parent: { mode: number; uid: number; isProcRoot: boolean }): boolean {
    const { ids, looks, root } = this.#walker;
    const isOneTooMany = ++this.#links > MAX_LINKS || (this.#resolve & RESOLVE_NO_SYMLINKS) !== 0;
    const isLast = this.#names.length === 0 && (this.#flags & O_NOFOLLOW) !== 0;
    // Where everybody may make links, only those of the walker and of the directory's owner are followed
    // (may_follow_link()). Where fs.protected_symlinks is off the kernel does follow; then it opens the stand-in by
    // itself.
    const isOthers = lastStat.uid !== ids.fsuid && lastStat.uid !== parent.uid;
    const isTrap = (parent.mode & STICKY_AND_FOR_ALL) === STICKY_AND_FOR_ALL && isOthers;
    const isRefused = isOneTooMany || isLast || isTrap;
    let found: ReturnType<typeof linkAside>;
    try {
      found = isRefused ? undefined : linkAside(looks, ids.pid, `link ${this.#links}`, link);
    } finally {
      closeBrief(link);
    }
    if (found === undefined || (found.flags & ST_NOSYMFOLLOW) !== 0) return false;
    const isProc = found.type === PROC_SUPER_MAGIC;
    if (isProc && !parent.isProcRoot) return this.#magic(name);
    const text = isProc ? this.#ownLink(name, found.text) : found.text;
    if (text === undefined || !this.#push(text)) return false;
    if (!text.startsWith("/")) return true;
    this.#go(root);
    return statDescriptor(root) === 0 && this.#mayBeHere(lastStat.mountId);
  }

  /** A link that leads where its text does not tell. Those of another process are its own matter. */
  #magic(name: string): boolean {
    const isOwn = this.#procPid === String(this.#walker.ids.pid);
    if (!isOwn || (this.#resolve & RESOLVE_NO_MAGICLINKS) !== 0) return false;
    const target = this.#step(name, 0, true);
    if (target < 0) return false;
    this.#go(target);
    this.#procPid = "";
    return statDescriptor(target) === 0 && this.#mayBeHere(lastStat.mountId);
  }

  /** /proc/self and /proc/thread-self say who reads them: what they would say to the walker. */
  #ownLink(name: string, text: string): string | undefined {
    if (name !== "self" && name !== "thread-self") return text;
    const { ids, tid } = this.#walker;
    // In the procfs of another pid namespace we have another number, or none.
    if (text.split("/", 1)[0] !== String(process.pid)) return undefined;
    return name === "self" ? String(ids.pid) : `${ids.pid}/task/${tid}`;
  }

  /**
   * Opens a name in the directory in hand, without waiting for anybody. @param isOwnProc the directory is of our
   * procfs, which nobody serves
   */
  #step(name: string, follow: number, isOwnProc: boolean): number {
    const { ids, looks } = this.#walker;
    const at = this.#at;
    const open = () => ids.during(() => openName(at, name, follow, isOwnProc)) ?? -ERRNO.EPERM;
    const found = open();
    this.#steps++;
    if (found !== -ERRNO.EAGAIN) return found;
    const aside = openAside(looks, ids.pid, { key: `step ${this.#steps}`, at, name, follow });
    return aside < 0 ? aside : open();
  }
}

function openName(at: number, name: string, follow: number, mayWait: boolean): number {
  const path = arena.byteText(0, name);
  arena.setU64(HOW, O_PATH | O_CLOEXEC | follow);
  arena.setU64(HOW + 8, 0);
  arena.setU64(HOW + 16, mayWait ? 0 : RESOLVE_CACHED);
  return briefly(() => syscall(HOST_CALLS.openat2, at, path, arena.address + HOW, OPEN_HOW_SIZE));
}

/**
 * The device number of our procfs, where processes are numbered as we do: of another pid namespace there is another
 * one.
 */
const procDevice = statPath(AT_FDCWD, "/proc") === 0 ? [lastStat.deviceMajor, lastStat.deviceMinor] : [];

/** Whether the file in lastStat is of it. */
function isOurProc(): boolean {
  return lastStat.deviceMajor === procDevice[0] && lastStat.deviceMinor === procDevice[1];
}
