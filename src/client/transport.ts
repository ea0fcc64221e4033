/// <reference lib="esnext.disposable" preserve="true" />
import type { Word } from "../kernel/word.ts";
import { ERRNO, errnoName } from "../uapi/errno.ts";

/** open(): for reading and writing. */
export const O_RDWR = 2;
/** open(): the descriptor is not inherited through execve(). */
export const O_CLOEXEC = 0o2000000;

/** A system call that failed. */
export class SystemCallError extends Error {
  /** "EINVAL". */
  readonly code: string;
  /** Positive. */
  readonly errno: number;
  /** What was called: "VFIO_IOMMU_MAP_DMA", "open /dev/vfio/12". */
  readonly call: string;
  /** Why, where the transport knows: a real kernel does not say. */
  readonly reason: string | undefined;

  constructor(call: string, errno: number, reason?: string) {
    const code = errnoName(errno);
    super(`${call}: ${code}${reason === undefined ? "" : ` (${reason})`}`);
    this.name = "SystemCallError";
    this.call = call;
    this.errno = errno;
    this.code = code;
    this.reason = reason;
  }
}

/**
 * Page-aligned anonymous memory that can be mapped for DMA. `using memory = transport.allocate(...)` gives it back at
 * the end of the block.
 */
export interface Memory extends Disposable {
  /** Where it is in the process's address space. */
  readonly address: bigint;
  /** The memory itself: what a device writes shows up here. */
  readonly bytes: Uint8Array;
  /** Gives the pages back. What a device reaches through a mapping for DMA stays with the device. */
  free(): void;
}

/** A width of one access, in bytes. */
export type AccessWidth = 1 | 2 | 4 | 8;

/** An eventfd: a counter that an interrupt adds to and that take() empties. Nothing waits for it: ask again. */
export interface EventFd extends Disposable {
  /** Its descriptor: what VFIO_DEVICE_SET_IRQS and KVM take. */
  readonly fd: number;
  /** Takes what was added since the last time; 0 when that is nothing. */
  take(): bigint;
  /** Adds, as a program that raises an event by hand does (write()). */
  add(count: bigint): void;
  /** Closes the descriptor. What signals the eventfd keeps it until it lets go. Does nothing the second time. */
  close(): void;
}

/** Which part of a file to map, and for what. */
export interface MapFile {
  /** Bytes into the file; a multiple of the page. */
  readonly offset: Word;
  /** Bytes. */
  readonly length: number;
  /** Whether it can be read; true when left out. */
  readonly read?: boolean;
  /** Whether it can be written; true when left out. */
  readonly write?: boolean;
}

/**
 * A device's registers or memory in this process (mmap with MAP_SHARED). Each read and write is one access of its
 * width, whose offset must be a multiple of it (RangeError). The mapping keeps the file open.
 */
export interface Mapping extends Disposable {
  /** Bytes. */
  readonly length: number;
  /** One load of `width` bytes. @returns an unsigned number */
  read(offset: number, width: AccessWidth): bigint;
  /** One store of the low `width` bytes of a value. */
  write(offset: number, width: AccessWidth, value: bigint): void;
  /** Takes the mapping away; it must not be used afterwards. */
  unmap(): void;
}

/** Refuses an access that a mapping does not have. */
export function checkAccess({ length }: Pick<Mapping, "length">, offset: number, width: AccessWidth): void {
  if (offset < 0 || offset + width > length) throw new RangeError(`${offset} plus ${width} is beyond ${length} bytes`);
  if (offset % width !== 0) throw new RangeError(`${offset} is not a multiple of the width, ${width}`);
}

/**
 * The system calls that the client needs. One transport makes them (system-transport.ts), the other one asks the model
 * in this process (model-transport.ts). Every call throws SystemCallError when it fails.
 */
export interface Transport {
  /** The byte order of the structures in ioctl(): the processor's that the kernel runs on. */
  readonly littleEndian: boolean;

  /**
   * Opens a device node.
   * @param flags O_*, as open() takes them
   * @returns its descriptor
   */
  open(path: string, flags: number): number;

  /** Closes a descriptor. */
  close(fd: number): void;

  /**
   * Makes a request on a file.
   * @param request as in the constants of uapi/; the transport encodes it for the host's architecture
   * @param arg a value, a structure that is read and written in place (also when the call fails), or a C string
   * @param name what to call the request in an error
   * @returns the request's value
   */
  ioctl(fd: number, request: number, arg: number | Uint8Array | string, name?: string): number;

  /** Reads from so many bytes into the file on. @returns how many bytes were read into `into` */
  pread(fd: number, into: Uint8Array, offset: Word): number;

  /** Writes to so many bytes into the file. @returns how many bytes were written */
  pwrite(fd: number, from: Uint8Array, offset: Word): number;

  /**
   * Takes anonymous memory that devices may be given.
   * @param size bytes; rounded up to pages
   */
  allocate(size: number): Memory;

  /** Makes an eventfd with nothing in it. */
  eventfd(): EventFd;

  /** Maps a part of a file, shared. */
  mmap(fd: number, request: MapFile): Mapping;

  /** The target of a symbolic link, as it stands there. */
  readlink(path: string): string;

  /** Whether there is such a file, directory or node; links on the way are followed. */
  exists(path: string): boolean;

  /** The names in a directory of /sys, in no order; none when it is not there. */
  list(path: string): readonly string[];
}

/** An error as the calls of this project's own code make them: by name. */
export function systemCallError(call: string, code: keyof typeof ERRNO, reason: string): SystemCallError {
  return new SystemCallError(call, ERRNO[code], reason);
}
