import fs from "node:fs";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallChain } from "./call-chain.ts";
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
// vma_offset@56, inode@64 (u64 each), dev_major u32@72, dev_minor u32@76, name and build id, which are not asked for
const ADDRESS = 16;
const START = 24;
const END = 32;
const FLAGS = 40;

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

/** Where a mapping lies, and what it allows. */
export interface Place {
  readonly start: number;
  readonly end: number;
  /** PROCMAP_QUERY_VMA_* bits. */
  readonly flags: number;
}

export function isWritable({ flags }: Place): boolean {
  return (flags & VMA_WRITABLE) !== 0;
}

export function isReadable({ flags }: Place): boolean {
  return (flags & VMA_READABLE) !== 0;
}

/** Answers which mapping covers an address. One object is filled again for each answer. */
export interface MemoryMap {
  /** The mapping that covers `address`, or undefined; valid until the next call. */
  find(address: number): Mapping | undefined;
  /** Forget what was read: the program may have changed its mappings. */
  refresh(): void;
  /** One look takes a system call, and not a reading of all mappings. */
  readonly isQuick: boolean;
  /** What find() has found last, for looks that a chain takes. Where isQuick. */
  place?(): Place;
  /** Has a step of a chain ask a question, and end the chain when there is no answer. Where isQuick. */
  putQuery?(chain: CallChain, step: number, query: MapQuery): void;
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

/** A struct procmap_query, for questions that differ in their address alone. */
export class MapQuery {
  static readonly size = QUERY_SIZE;
  /** Steps of putSame(). */
  static readonly sameSteps = 3;
  readonly #arena: Arena;
  readonly #at: number;

  /** The structure lies at `at` of `arena`. */
  constructor(arena = new Arena(QUERY_SIZE), at = 0) {
    this.#arena = arena;
    this.#at = at;
    arena.clear(at, QUERY_SIZE);
    arena.setU64(at, QUERY_SIZE);
  }

  /** Address of the structure. */
  get address(): number {
    return this.#arena.address + this.#at;
  }

  /** Address of the field that says which address is asked for. */
  get addressField(): number {
    return this.address + ADDRESS;
  }

  get askedAddress(): number {
    return this.#arena.u64(this.#at + ADDRESS);
  }

  /** The kernel leaves what was asked as it is (fs/proc/task_mmu.c:do_procmap_query). */
  set askedAddress(address: number) {
    this.#arena.setU64(this.#at + ADDRESS, address);
  }

  /** Has steps of a chain end it unless the answer is a mapping that ends where another did and allows the same. */
  putSame(chain: CallChain, step: number, { end, flags }: Place): void {
    const high = Math.trunc(end / 0x1_0000_0000);
    const field = this.address + END;
    for (let each = step; each < step + MapQuery.sameSteps; each++) chain.nothing(each);
    chain.check(step, this.address + FLAGS, flags);
    chain.check(step + 1, field, end - high * 0x1_0000_0000);
    chain.check(step + 2, field + 4, high);
  }

  /** Where the mapping lies that was the answer. */
  place(): Place {
    const arena = this.#arena;
    const at = this.#at;
    return { start: arena.u64(at + START), end: arena.u64(at + END), flags: arena.u32(at + FLAGS) };
  }

  /** The mapping that was the answer. */
  read(found: Mapping): Mapping {
    const arena = this.#arena;
    const at = this.#at;
    const flags = arena.u32(at + FLAGS);
    found.start = arena.u64(at + START);
    found.end = arena.u64(at + END);
    found.readable = (flags & VMA_READABLE) !== 0;
    found.writable = (flags & VMA_WRITABLE) !== 0;
    found.shared = (flags & VMA_SHARED) !== 0;
    found.offset = arena.u64(at + 56);
    found.pageSize = arena.u64(at + 48);
    found.inode = arena.u64(at + 64);
    found.deviceMajor = arena.u32(at + 72);
    found.deviceMinor = arena.u32(at + 76);
    return found;
  }
}

const query = new MapQuery();

/** A mapping to be filled. */
export function noMapping(): Mapping {
  return {
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
}

/** One ioctl() for each question. */
class QueriedMap implements MemoryMap {
  readonly isQuick = true;
  readonly #maps: number;
  readonly #found = noMapping();

  constructor(maps: number) {
    this.#maps = maps;
  }

  usable(): boolean {
    return this.#ask(0) !== -ERRNO.ENOTTY;
  }

  find(address: number): Mapping | undefined {
    if (this.#ask(address) < 0) return undefined;
    return query.read(this.#found);
  }

  refresh(): void {}

  place(): Place {
    return query.place();
  }

  putQuery(chain: CallChain, step: number, { address }: MapQuery): void {
    chain.call(step, HOST_CALLS.ioctl, this.#maps, PROCMAP_QUERY, address);
    chain.checkResult(step, 0);
  }

  #ask(address: number): number {
    query.askedAddress = address;
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
