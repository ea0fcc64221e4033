import { Arena } from "./arena.ts";
import { briefly, closeBrief } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import {
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  PROC_SUPER_MAGIC,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  S_IFLNK,
  S_IFMT,
  S_ISVTX,
  ST_NOSYMFOLLOW,
} from "./linux.ts";
import { lastStat, statDescriptor } from "./path-stat.ts";

const PATH_MAX = 4096;
/** MAXSYMLINKS (fs/namei.c). */
const MAX_LINKS = 40;
const STICKY_AND_FOR_ALL = S_ISVTX | 0o002;
/** Inode of the root directory of procfs. */
const PROC_ROOT = 1;
const STATFS = PATH_MAX;
const arena = new Arena(STATFS + 128);

/** Who walks, and from where. */
export interface Walker {
  /** O_PATH descriptors of ours: of the thread's root directory, and of the directory that relative paths begin at. */
  readonly root: number;
  readonly base: number;
  readonly pid: number;
  readonly tid: number;
  /** Filesystem user id. */
  readonly fsuid: number;
}

/**
 * Follows a path, step by step, to what the kernel would open for another thread: within its root, by its own /proc/self, with every link looked at
 * before it is followed. Each step is an openat() of one name, so that the kernel checks the permission to search (for the credentials that we have
 * taken on) and crosses mounts. See path_resolution(7), fs/namei.c.
 *
 * @param path bytes as characters
 * @param resolve of openat2(): RESOLVE_NO_*; the two that change the root are not for this
 * @returns an O_PATH descriptor, to be closed with closeBrief(); undefined when the kernel would refuse, and whenever that is in doubt
 */
export function walk(walker: Walker, path: string, flags: number, resolve: number): number | undefined {
  const { root } = walker;
  // What is to come, the next name last.
  const names: string[] = [];
  let at = path.startsWith("/") ? root : walker.base;
  let links = 0;
  /** The process that the directory `at` in procfs belongs to. */
  let procPid = "";
  const go = (to: number) => {
    if (at !== root && at !== walker.base) closeBrief(at);
    at = to;
  };
  const stop = () => {
    go(root);
    return undefined;
  };
  if (!push(names, path)) return undefined;
  if (statDescriptor(at) < 0) return undefined;
  const mount = lastStat.mountId;
  while (names.length > 0) {
    const name = names.pop()!;
    if (statDescriptor(at) < 0) return stop();
    const { mode, uid, inode, mountId } = lastStat;
    const next = step(at, name === ".." && isSame(at, root) ? "." : name, O_NOFOLLOW);
    if (next < 0 || statDescriptor(next) < 0) return stop();
    const isLink = (lastStat.mode & S_IFMT) === S_IFLNK;
    if (!isLink) {
      const crossed = lastStat.mountId !== mount;
      if (inode === PROC_ROOT && isOurProc(at)) procPid = name;
      else if (name === ".." || lastStat.mountId !== mountId) procPid = "";
      go(next);
      if (crossed && (resolve & RESOLVE_NO_XDEV) !== 0) return stop();
      continue;
    }
    const isOneTooMany = ++links > MAX_LINKS || (resolve & RESOLVE_NO_SYMLINKS) !== 0;
    const isLast = names.length === 0 && (flags & O_NOFOLLOW) !== 0;
    // Where everybody may make links, only those of the walker and of the directory's owner are followed (may_follow_link()). Where
    // fs.protected_symlinks is off the kernel does follow; then it opens the stand-in by itself.
    const isTrap =
      (mode & STICKY_AND_FOR_ALL) === STICKY_AND_FOR_ALL && lastStat.uid !== walker.fsuid && lastStat.uid !== uid;
    const system = fileSystem(next);
    const text = readLink(next);
    closeBrief(next);
    if (isOneTooMany || isLast || isTrap || (system.flags & ST_NOSYMFOLLOW) !== 0 || text === "") return stop();
    if (system.type === PROC_SUPER_MAGIC && inode !== PROC_ROOT) {
      // Such links lead where their text does not tell. Those of another process are its own matter.
      if ((resolve & RESOLVE_NO_MAGICLINKS) !== 0 || procPid !== String(walker.pid)) return stop();
      const target = step(at, name, 0);
      if (target < 0) return stop();
      go(target);
      procPid = "";
      if ((resolve & RESOLVE_NO_XDEV) !== 0 && (statDescriptor(at) < 0 || lastStat.mountId !== mount)) return stop();
      continue;
    }
    const target = system.type === PROC_SUPER_MAGIC ? ownLink(name, text, walker) : text;
    if (target === undefined || !push(names, target)) return stop();
    if (!target.startsWith("/")) continue;
    go(root);
    if ((resolve & RESOLVE_NO_XDEV) !== 0 && (statDescriptor(root) < 0 || lastStat.mountId !== mount)) return stop();
  }
  return at === root || at === walker.base ? undefined : at;
}

/** Puts the names of a path before those that are left. False for one that can only be a directory. */
function push(names: string[], path: string): boolean {
  if (path === "" || path.length >= PATH_MAX) return false;
  if (path.endsWith("/") && names.length === 0) return false;
  for (const name of path.split("/").reverse()) if (name !== "") names.push(name);
  return true;
}

function step(at: number, name: string, follow: number): number {
  const path = arena.byteText(0, name);
  return briefly(() => syscall(HOST_CALLS.openat, at, path, O_PATH | O_CLOEXEC | follow, 0));
}

/** /proc/self and /proc/thread-self say who reads them: what they would say to the walker. */
function ownLink(name: string, text: string, { pid, tid }: Walker): string | undefined {
  if (name !== "self" && name !== "thread-self") return text;
  // Not so in another pid namespace: see isOurProc().
  if (text.split("/", 1)[0] !== String(process.pid)) return undefined;
  return name === "self" ? String(pid) : `${pid}/task/${tid}`;
}

function isSame(a: number, b: number): boolean {
  if (statDescriptor(b) < 0) return false;
  const { inode, mountId } = lastStat;
  return statDescriptor(a) === 0 && lastStat.inode === inode && lastStat.mountId === mountId;
}

/** Whether a directory is the root of procfs, with processes numbered as we do: in that of another pid namespace we have another number, or none. */
function isOurProc(fd: number): boolean {
  return fileSystem(fd).type === PROC_SUPER_MAGIC && readLink(fd, "self") === String(process.pid);
}

/** Type and mount flags of the filesystem that a file lies on. */
export function fileSystem(fd: number): { readonly type: number; readonly flags: number } {
  // struct statfs: f_type u64@0, f_flags u64@80
  if (syscall(HOST_CALLS.fstatfs, fd, arena.address + STATFS) < 0) return { type: 0, flags: 0xffff_ffff };
  return { type: arena.u64(STATFS), flags: arena.u64(STATFS + 80) };
}

/** The text of a link in a directory, or of the link that an O_PATH descriptor is of; empty when it cannot be read. */
function readLink(fd: number, name = ""): string {
  const path = arena.byteText(0, name);
  const length = syscall(HOST_CALLS.readlinkat, fd, path, arena.address, STATFS);
  return length > 0 && length < PATH_MAX ? arena.bytes.toString("latin1", 0, length) : "";
}
