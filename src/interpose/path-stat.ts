import { Arena } from "../native/arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_NOFOLLOW,
  STATX,
  STATX_BASIC_STATS,
  STATX_MNT_ID,
  STATX_MODE,
} from "./linux.ts";

/** Without asking whoever serves the file system: which file it is, and what is known of it, is enough. */
const FLAGS = AT_STATX_DONT_SYNC;
const PATH = 256;
const arena = new Arena(PATH + 4200);
const pathAddress = arena.address + PATH;
/** Of its own: lastStat stays. */
const linkArena = new Arena(PATH + 64);

/**
 * The last statx() of this thread. One buffer for all: what it holds is read at once, and fs.statSync costs several
 * times as much.
 */
export const lastStat = {
  get inode(): number {
    return arena.u64(STATX.ino);
  },
  get deviceMajor(): number {
    return arena.u32(STATX.devMajor);
  },
  get deviceMinor(): number {
    return arena.u32(STATX.devMinor);
  },
  get mode(): number {
    return arena.view.getUint16(STATX.mode, true);
  },
  get size(): number {
    return arena.u64(STATX.size);
  },
  get uid(): number {
    return arena.u32(STATX.uid);
  },
  get gid(): number {
    return arena.u32(STATX.gid);
  },
  /** Which device a node is: "major:minor". */
  get device(): string {
    return `${arena.u32(STATX.rdevMajor)}:${arena.u32(STATX.rdevMinor)}`;
  },
  /** Of the mount that the file was reached through. */
  get mountId(): number {
    return arena.u64(STATX.mountId);
  },
  /** All 256 bytes of struct statx. */
  get bytes(): Buffer {
    return arena.bytes.subarray(0, STATX.length);
  },
};

/** statx() of a path relative to `directory`, following links. 0 or a negative errno; the answer is in lastStat. */
export function statPath(directory: number, path: string): number {
  arena.text(PATH, path);
  return syscall(HOST_CALLS.statx, directory, pathAddress, FLAGS, STATX_BASIC_STATS, arena.address);
}

/** statx() of a descriptor of ours. */
export function statDescriptor(fd: number): number {
  return statDescriptorTo(fd, arena.address);
}

/** The same into a struct statx at an address. */
export function statDescriptorTo(fd: number, address: number): number {
  arena.bytes[PATH] = 0;
  return syscall(HOST_CALLS.statx, fd, pathAddress, AT_EMPTY_PATH | FLAGS, STATX_BASIC_STATS | STATX_MNT_ID, address);
}

const ZERO = 0x30;
const text = new TextEncoder();
const PROC = text.encode("/proc/");
const FD = text.encode("/fd/");
const USER_NAMESPACE = text.encode("/ns/user\0");

/** statx() of /proc/TID/fd/N: which file a descriptor of a thread stands for. Allocates nothing. */
export function statThreadDescriptor(tid: number, fd: number): number {
  const { bytes } = arena;
  bytes[writeDecimal(bytes, writeProcPath(bytes, tid, FD), fd)] = 0;
  return syscall(HOST_CALLS.statx, AT_FDCWD, pathAddress, FLAGS, STATX_BASIC_STATS, arena.address);
}

/**
 * Whether a thread's descriptor was opened with O_PATH: the link to it gives no right to read or write then
 * (fs/proc/fd.c:tid_fd_update_inode).
 */
export function isPathOnly(tid: number, fd: number): boolean {
  const { bytes } = linkArena;
  bytes[writeDecimal(bytes, writeProcPath(bytes, tid, FD), fd)] = 0;
  const path = linkArena.address + PATH;
  const found = syscall(HOST_CALLS.statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_MODE, linkArena.address);
  return found === 0 && (linkArena.view.getUint16(STATX.mode, true) & 0o600) === 0;
}

/** statx() of a thread's user namespace, whose inode tells which one it is. Allocates nothing. */
export function statUserNamespace(tid: number): number {
  writeProcPath(arena.bytes, tid, USER_NAMESPACE);
  return syscall(HOST_CALLS.statx, AT_FDCWD, pathAddress, FLAGS, STATX_BASIC_STATS, arena.address);
}

/** Writes /proc/TID and what follows; returns where it ends. */
function writeProcPath(bytes: Uint8Array, tid: number, rest: Uint8Array): number {
  bytes.set(PROC, PATH);
  const middle = writeDecimal(bytes, PATH + PROC.length, tid);
  bytes.set(rest, middle);
  return middle + rest.length;
}

/** Writes a whole number as text at `at`; returns where it ends. */
function writeDecimal(bytes: Uint8Array, at: number, value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.trunc(rest / 10)) digits++;
  let to = at + digits;
  for (let rest = value; to > at; rest = Math.trunc(rest / 10)) bytes[--to] = ZERO + (rest % 10);
  return at + digits;
}

/** openat() relative to a directory of ours; the new descriptor or a negative errno. */
export function openPath(directory: number, path: string, flags: number): number {
  return syscall(HOST_CALLS.openat, directory, arena.text(PATH, path), flags, 0);
}
