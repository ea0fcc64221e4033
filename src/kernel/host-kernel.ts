import type { FileDescription } from "./file-description.ts";
import type { HostFiles } from "./host-files.ts";
import type { Task } from "./task.ts";
import type { Word } from "./word.ts";

/** A character device node that the host has. */
export interface DeviceNode {
  /** Absolute, below /dev. */
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly mode: number;
}

/** Who waits for descriptors: actions are short, and throw nothing. */
export interface DescriptorWatcher {
  add(fd: number, action: () => void): void;
  remove(fd: number): void;
}

/** What devices do by themselves after the call that told them to. */
export interface DeviceWork {
  /**
   * Set by a transport that calls run() as long as isPending: devices leave the larger part of long jobs to that.
   * Otherwise they have done what they are told when the call that told them returns.
   */
  inSlices: boolean;
  readonly isPending: boolean;
  /**
   * Set by such a transport: a device goes on outside of any call, so that there may be something to do and to show.
   */
  resumed?: () => void;
  /**
   * Set by a transport that waits for descriptors: it calls an action whenever its descriptor is readable. Otherwise
   * they are looked at now and then.
   */
  watcher: DescriptorWatcher | undefined;
  /** Goes on with what devices have to do, for so long and one small piece more. */
  run(milliseconds: number): void;
}

/**
 * A booted host as a transport sees it: files that programs find and write, and nodes that they open. Everything behind
 * an opened node is a FileDescription.
 */
export interface HostKernel {
  /** The directories, files and links that the host's /sys (and parts of /dev, /proc) consist of now. */
  readonly files: HostFiles;

  /** What devices do by themselves. Absent: nothing that takes time. */
  readonly deviceWork?: DeviceWork;

  /**
   * The byte order of the machine's own programs, for transports that make up processes of it; little-endian when left
   * out. A process that comes from elsewhere has its own (AddressSpace.littleEndian).
   */
  readonly littleEndian?: boolean;

  /** The nodes that exist now. */
  deviceNodes(): readonly DeviceNode[];

  /**
   * Opens a node. Throws KernelError: ENOENT (no such node), and what the driver of the node refuses with, such as
   * EBUSY (a group that is open) or EPERM.
   * @param flags the open() flags of the caller
   */
  open(task: Task, path: string, flags: number): FileDescription;

  /** Why there is no node at a path below /dev, for a person. Absent: nobody can tell. */
  whyMissing?(path: string): string;

  /**
   * Hears of each request of a program before its file does, and may have it fail without that: throws KernelError.
   * Absent: nobody wants to know.
   */
  before?(task: Task, file: FileDescription, request: number, arg: Word): void;

  /**
   * Whether programs look into /proc for what the kernel does with them: for fail-nth, and for what iommufd has pinned
   * (VmPin). A transport that serves that has every open of a file to look at.
   */
  readonly hasProcFiles?: boolean;

  /**
   * Opens a file that the host's kernel has in /proc for each thread beyond those of every kernel, as `fail-nth`.
   * Undefined where it has none of that name, or absent.
   * @throws KernelError EACCES
   */
  procFile?(task: Task, thread: number, name: string): FileDescription | undefined;

  /**
   * The request that a program means by a number of ioctl(), in the plain encoding of _IO() that files take: on a host
   * of powerpc both encodings are taken, since the programs that run here are built for other machines. Absent: numbers
   * are plain.
   */
  plainRequest?(request: number): number;

  /** The host is needed no more: what its devices have outside of this process ends. */
  close?(): void;
}
