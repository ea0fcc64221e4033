import type { FileDescription, SharedMemory } from "../kernel/file-description.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { positionOf } from "./borrow.ts";
import { refuseShortage } from "./descriptor-shortage.ts";
import { FileWindows } from "./file-windows.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, pread, syscall } from "./libc.ts";
import { F_GETSIG, F_SETSIG } from "./linux.ts";
import { mapsFile } from "./memory-map.ts";
import { lastStat } from "./path-stat.ts";

/** Whose a file is, and what others may do with it. */
export interface Owned {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** The node that a file is opened through, with the owner and the permissions that its stand-in has at that moment. */
export interface Origin extends Owned {
  readonly node: DeviceNode;
}

/** A node as the origin of a file, its stand-in's stat being in lastStat. */
export function lastOrigin(node: DeviceNode | undefined): Origin | undefined {
  const { mode, uid, gid } = lastStat;
  return node && { node, mode, uid, gid };
}

interface Made {
  readonly inode: number;
  readonly watch: number;
  readonly memory: number;
  readonly mode: number;
  readonly creator?: object | undefined;
}

/**
 * One of the model's files as programs hold it: a memfd with an inode of its own, opened once more. The inode tells
 * which file a descriptor is, whatever dup(), fork(), exec() and SCM_RIGHTS did with it.
 */
export class InjectedFile implements SharedMemory {
  readonly description: FileDescription;
  /** The node it was opened through; undefined for what an ioctl returned. */
  readonly node: DeviceNode | undefined;
  readonly inode: number;
  readonly watch: number;
  /** How programs have it open: one of O_ACCMODE's values. */
  readonly mode: number;
  /** Who got it first. */
  readonly creator: object | undefined;
  /** Our own descriptor of the memfd. */
  readonly memory: number;
  /** A program opened the memfd itself, through /proc/self/fd: not every descriptor with this inode is this file. */
  isOpenedAgain = false;
  readonly #windows: FileWindows;
  readonly #pids: () => Iterable<number>;

  /** @param pids the processes that may map it */
  constructor(
    description: FileDescription,
    node: DeviceNode | undefined,
    { inode, watch, memory, mode, creator }: Made,
    pids: () => Iterable<number>,
  ) {
    this.#pids = pids;
    this.description = description;
    this.node = node;
    this.inode = inode;
    this.watch = watch;
    this.memory = memory;
    this.mode = mode;
    this.creator = creator;
    this.#windows = new FileWindows(memory);
  }

  read(offset: number, into: Uint8Array): void {
    if (!this.#windows.read(offset, into)) pread(this.memory, into, offset);
  }

  write(offset: number, from: Uint8Array): void {
    this.#windows.write(offset, from);
  }

  replace(offset: number, expected: Uint8Array, by: Uint8Array): boolean {
    return this.#windows.replace(offset, expected, by);
  }

  /** By the processes that hold files of ours, as far as they are known. */
  isMapped(offset: number, length: number): boolean {
    for (const pid of this.#pids()) if (mapsFile(pid, this.inode, offset, length)) return true;
    return false;
  }

  /** Closes what is held of it. */
  close(): void {
    this.#windows.close();
    close(this.memory);
  }
}

/**
 * A property of open files that ours have no use for (they never send SIGIO): it tells the one that we gave out from
 * others of the inode.
 */
const MARK = 64;
/** LLONG_MAX, where makeUnreadable() puts it (injected-files.ts). */
const LAST_POSITION = "9223372036854775807";

/** Marks the open file that programs are given. */
export function markOpened(fd: number): void {
  syscall(HOST_CALLS.fcntl, fd, F_SETSIG, MARK);
}

/** Whether a descriptor of a process, of an inode of ours, is of the open file that it was given. */
export function isMarked(pidfd: number, fd: number): boolean {
  const copy = syscall(HOST_CALLS.pidfd_getfd, pidfd, fd, 0);
  if (copy < 0) {
    refuseShortage(copy);
    // Where descriptors may not be fetched: only the one that was given out is at the very end.
    return copy === -ERRNO.EPERM && positionOf(pidfd, fd) === LAST_POSITION;
  }
  const mark = syscall(HOST_CALLS.fcntl, copy, F_GETSIG);
  close(copy);
  return mark === MARK;
}
