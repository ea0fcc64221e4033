import fs from "node:fs";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall3 } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC } from "./linux.ts";
import { openPath } from "./path-stat.ts";

/** Bytes of a page of the machine that programs run on. */
export const PAGE_SIZE = 4096;

/** _IOWR('f', 17, struct procmap_query) of linux/fs.h, since Linux 6.11. */
const PROCMAP_QUERY = 0xc068_6611;
const QUERY_SIZE = 104;
const VMA_READABLE = 1;
const VMA_WRITABLE = 2;
const VMA_SHARED = 8;
// struct procmap_query: size@0, query_flags@8, query_addr@16, vma_start@24, vma_end@32, vma_flags@40, vma_page_size@48,
// vma_offset@56, inode@64 (u64 each), dev_major u32@72, dev_minor u32@76, name and build id
const query = new Arena(QUERY_SIZE);

/** What tells a file from all others of the machine. */
export interface FileIdentity {
  readonly inode: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return one.inode === other.inode && one.deviceMajor === other.deviceMajor && one.deviceMinor === other.deviceMinor;
}

/** One mapping of a process: the kernel's vm_area_struct as far as pinning looks at it. */
export interface Mapping {
  /** Its first byte. */
  start: number;
  /** Byte behind its last. */
  end: number;
  readable: boolean;
  writable: boolean;
  /** What is written shows in the file, and in other mappings of it. */
  shared: boolean;
  /** Bytes into the file that it begins at. */
  offset: number;
  /** Bytes of its pages (vma_kernel_pagesize); 0 where that was not asked. */
  pageSize: number;
  /** 0: anonymous. */
  inode: number;
  deviceMajor: number;
  deviceMinor: number;
}

/** Answers which mapping covers an address. One object is filled again for each answer. */
export interface MemoryMap {
  /** The mapping that covers `address`, or undefined; valid until the next call. */
  find(address: number): Mapping | undefined;
  /** Forget what was read: the program may have changed its mappings. */
  refresh(): void;
  /** One look takes a system call, and not a reading of all mappings. */
  readonly isQuick: boolean;
}

/**
 * @param maps an open /proc/PID/maps; it stays with the memory it was opened for, whatever the process executes later
 */
export function memoryMap(maps: number): MemoryMap {
  canQuery ??= tryQuery();
  return canQuery ? new QueriedMap(maps) : new ParsedMap(maps);
}

let canQuery: boolean | undefined;

/** Asks of our own memory: a program's may have to be waited for. */
function tryQuery(): boolean {
  const maps = openPath(AT_FDCWD, "/proc/self/maps", O_CLOEXEC);
  if (maps < 0) return false;
  const isKnown = new QueriedMap(maps).usable();
  close(maps);
  return isKnown;
}

/**
 * The ioctl() on an open /proc/PID/maps that asks which mapping covers `address`. @param at address of `bytes`,
 * QUERY_SIZE of them
 */
export function mapQuery(maps: number, address: number, at: number, bytes: Buffer): [number, ...number[]] {
  bytes.fill(0, 0, QUERY_SIZE);
  bytes.writeBigUInt64LE(BigInt(QUERY_SIZE), 0);
  bytes.writeBigUInt64LE(BigInt(address), 16);
  return [HOST_CALLS.ioctl, maps, PROCMAP_QUERY, at];
}

/** What mapQuery() was answered. */
export function queriedMapping(bytes: Buffer): Mapping {
  const flags = bytes.readUInt32LE(40);
  return {
    start: Number(bytes.readBigUInt64LE(24)),
    end: Number(bytes.readBigUInt64LE(32)),
    readable: (flags & VMA_READABLE) !== 0,
    writable: (flags & VMA_WRITABLE) !== 0,
    shared: (flags & VMA_SHARED) !== 0,
    offset: Number(bytes.readBigUInt64LE(56)),
    pageSize: Number(bytes.readBigUInt64LE(48)),
    inode: Number(bytes.readBigUInt64LE(64)),
    deviceMajor: bytes.readUInt32LE(72),
    deviceMinor: bytes.readUInt32LE(76),
  };
}

/** One ioctl() for each question. */
class QueriedMap implements MemoryMap {
  readonly isQuick = true;
  readonly #maps: number;
  readonly #found: Mapping = {
    start: 0,
    end: 0,
    readable: false,
    writable: false,
    shared: false,
    offset: 0,
    pageSize: 0,
    inode: 0,
    deviceMajor: 0,
    deviceMinor: 0,
  };

  constructor(maps: number) {
    this.#maps = maps;
  }

  usable(): boolean {
    return this.#ask(0) !== -ERRNO.ENOTTY;
  }

  find(address: number): Mapping | undefined {
    if (this.#ask(address) < 0) return undefined;
    const found = this.#found;
    const flags = query.u32(40);
    found.start = query.u64(24);
    found.end = query.u64(32);
    found.readable = (flags & VMA_READABLE) !== 0;
    found.writable = (flags & VMA_WRITABLE) !== 0;
    found.shared = (flags & VMA_SHARED) !== 0;
    found.offset = query.u64(56);
    found.pageSize = query.u64(48);
    found.inode = query.u64(64);
    found.deviceMajor = query.u32(72);
    found.deviceMinor = query.u32(76);
    return found;
  }

  refresh(): void {}

  #ask(address: number): number {
    query.clear(0, QUERY_SIZE);
    query.setU64(0, QUERY_SIZE);
    query.setU64(16, address);
    return syscall3(HOST_CALLS.ioctl, this.#maps, PROCMAP_QUERY, query.address);
  }
}

/** Reads the text of /proc/PID/maps, as before Linux 6.11. */
export class ParsedMap implements MemoryMap {
  readonly isQuick = false;
  readonly #path: string;
  #mappings: Mapping[] | undefined;

  constructor(maps: number) {
    this.#path = `/proc/self/fd/${maps}`;
  }

  find(address: number): Mapping | undefined {
    this.#mappings ??= this.#read();
    let from = 0;
    let to = this.#mappings.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#mappings[middle]!.end > address) to = middle;
      else from = middle + 1;
    }
    const mapping = this.#mappings[from];
    return mapping !== undefined && mapping.start <= address ? mapping : undefined;
  }

  refresh(): void {
    this.#mappings = undefined;
  }

  #read(): Mapping[] {
    let text: string;
    try {
      text = fs.readFileSync(this.#path, "latin1");
    } catch {
      return [];
    }
    return parseMaps(text);
  }
}

/** Whether a process maps some of a range of a memfd of our own. */
export function mapsFile(pid: number, inode: number, offset: number, length: number): boolean {
  return mappingsOf(pid).some(
    (mapping) =>
      mapping.inode === inode &&
      mapping.deviceMajor === 0 &&
      mapping.offset < offset + length &&
      mapping.offset + mapping.end - mapping.start > offset,
  );
}

/** All mappings of a process, in order; none when it is gone. */
export function mappingsOf(pid: number): readonly Mapping[] {
  try {
    return parseMaps(fs.readFileSync(`/proc/${pid}/maps`, "latin1"));
  } catch {
    return [];
  }
}

function parseMaps(text: string): Mapping[] {
  // 7f5c1c000000-7f5c1c021000 rw-p 00000000 00:00 0    [name]
  return [
    ...text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) (r|-)(w|-)\S(s|p) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)/gm),
  ].map(([, start, end, read, write, kind, offset, major, minor, inode]) => ({
    start: Number.parseInt(start!, 16),
    end: Number.parseInt(end!, 16),
    readable: read === "r",
    writable: write === "w",
    shared: kind === "s",
    offset: Number.parseInt(offset!, 16),
    pageSize: 0,
    inode: Number(inode),
    deviceMajor: Number.parseInt(major!, 16),
    deviceMinor: Number.parseInt(minor!, 16),
  }));
}
