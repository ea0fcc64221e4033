import { Arena } from "../native/arena.ts";
import type { CallAside, Room, Steps } from "./aside/aside-jobs.ts";
import { ROOM_SIZE } from "./aside/aside-thread.ts";
import { CallChain } from "./call-chain.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, pread, pwrite, syscall, syscall4 } from "./libc.ts";
import { AT_FDCWD, F_DUPFD_CLOEXEC, O_CLOEXEC, O_RDWR } from "./linux.ts";
import {
  type Mapping,
  MapQuery,
  type MemoryMap,
  mapQuery,
  memoryMap,
  PAGE_SIZE,
  type Place,
  queriedMapping,
} from "./memory-map.ts";
import { openPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { READ_AT, remoteRead } from "./remote-read.ts";

/** Bytes that a look at a mapping takes in a room; copied bytes follow. */
const QUERY = 128;
const PART = ROOM_SIZE - QUERY;
/** Struct iovec for one system call: UIO_MAXIOV. */
const MAX_VECTORS = 1024;
const SMALL = 256;
/** How often the same page is asked for. */
const MAX_ASKED = 100;
/** An address at which there is never anything (vm.mmap_min_addr). */
const NOWHERE = 64;
/** auxvec.h */
const AT_RANDOM = 25;
const RANDOM_SIZE = 16;
const small = new Arena(SMALL);
const againQuery = new MapQuery();
// the steps of a copy to where one went before: is the mapping as it was, the copy
const AGAIN_WRITE = 1 + MapQuery.sameSteps;
const AGAIN_STEPS = AGAIN_WRITE + 1;
const oneByte = new Uint8Array(1);

/** Puts a few bytes where system calls read them; up to SMALL of them a loop is quicker than set(). */
function toSmall(from: Uint8Array, length: number): void {
  for (let i = 0; i < length; i++) small.bytes[i] = from[i]!;
}

/** A range of memory as it was found. */
export interface Survey {
  /** In order, without a hole between them. */
  readonly mappings: readonly Mapping[];
  /** Pages from the start on that could be read. */
  readonly readable: number;
}

/**
 * The memory of a process, held by an open /proc/PID/mem and maps: whatever becomes of the process and its number, they
 * reach this memory, and nothing once it has no users any more. Reads and writes through mem do not ask for protections
 * (FOLL_FORCE), as DMA does not; copies for a call ask the map first.
 */
export class HeldMemory {
  readonly map: MemoryMap;
  readonly #mem: number;
  readonly #maps: number;
  #chain: CallChain | undefined;
  /** Where copyOut() has written last. */
  #again: { readonly chain: CallChain; readonly place: Place } | undefined;
  #isOpen = true;

  private constructor(mem: number, maps: number) {
    this.#mem = mem;
    this.#maps = maps;
    this.map = memoryMap(maps);
  }

  /** Undefined when it cannot be had. Whose memory it is shows when the caller is valid still. */
  static open(tid: number): HeldMemory | undefined {
    const mem = openPath(AT_FDCWD, `/proc/${tid}/mem`, O_RDWR | O_CLOEXEC);
    if (mem < 0) return undefined;
    const maps = openPath(AT_FDCWD, `/proc/${tid}/maps`, O_CLOEXEC);
    if (maps >= 0) return new HeldMemory(mem, maps);
    close(mem);
    return undefined;
  }

  /** copy_from_user() at once. False when a page is not there, or waits for somebody: then nothing is known. */
  copyIn(address: number, into: Uint8Array, length: number): boolean {
    for (let done = 0; done < length; ) {
      const mapping = this.map.find(address + done);
      if (!mapping?.readable) return false;
      const part = Math.min(length - done, mapping.end - address - done);
      const to = part === into.length ? into : into.subarray(done, done + part);
      const count = this.read(address + done, to);
      if (count <= 0) return false;
      done += count;
    }
    return true;
  }

  /** strndup_user() at once, as bytes without the NUL; undefined when that has to be looked at in another way. */
  copyString(address: number, max: number): Buffer | undefined {
    const parts: Buffer[] = [];
    for (let done = 0; done < max; ) {
      const part = Buffer.alloc(Math.min(max - done, PAGE_SIZE - ((address + done) % PAGE_SIZE)));
      if (!this.copyIn(address + done, part, part.length)) return undefined;
      const end = part.indexOf(0);
      parts.push(end < 0 ? part : part.subarray(0, end));
      if (end >= 0) return Buffer.concat(parts);
      done += part.length;
    }
    return undefined;
  }

  /**
   * copy_to_user() of `length` bytes at once: how many of them, up to the first page that is not there, is protected,
   * or waits for somebody.
   */
  copyOut(address: number, from: Uint8Array, length = from.length): number {
    if (this.#copyOutAgain(address, from, length)) return length;
    let done = 0;
    while (done < length) {
      const mapping = this.map.find(address + done);
      if (!mapping?.writable) break;
      const part = Math.min(length - done, mapping.end - address - done);
      const count = this.write(address + done, part === from.length ? from : from.subarray(done, done + part));
      if (count <= 0) break;
      const place = part === length && part <= SMALL ? this.map.place?.() : undefined;
      if (place !== undefined) this.#noteCopyOut(place);
      done += count;
    }
    return done;
  }

  /** The same of a few bytes in the mapping that was written to last, by one call; false when it is no longer so. */
  #copyOutAgain(address: number, from: Uint8Array, length: number): boolean {
    const again = this.#again;
    if (again === undefined || length > SMALL) return false;
    const { chain, place } = again;
    if (address < place.start || address + length > place.end) return false;
    againQuery.askedAddress = address;
    toSmall(from, length);
    chain.argument(AGAIN_WRITE, 2, length);
    chain.argument(AGAIN_WRITE, 3, address);
    if (chain.run(0, AGAIN_STEPS) === AGAIN_STEPS) return chain.result(AGAIN_WRITE) === length;
    this.#again = undefined;
    return false;
  }

  /** Remembers where a few bytes were written: calls write to the same place again and again. */
  #noteCopyOut(place: Place): void {
    this.#chain ??= CallChain.make(AGAIN_STEPS);
    const chain = this.#chain;
    if (chain === undefined) return;
    this.map.putQuery?.(chain, 0, againQuery);
    againQuery.putSame(chain, 1, place);
    chain.call(AGAIN_WRITE, HOST_CALLS.pwrite64, this.#mem, small.address);
    this.#again = { chain, place };
  }

  /** Whether it has not been closed. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Has a step of a chain read `length` bytes to an address of ours; where from is the last argument. */
  putRead(chain: CallChain, step: number, to: number, length: number): void {
    chain.call(step, HOST_CALLS.pread64, this.#mem, to, length);
  }

  /** Whether each of so many pages is there now: of few of them, since each takes a system call. */
  areThere(vaddr: number, pages: number): boolean {
    for (let page = 0; page < pages; page++) if (this.read(vaddr + page * PAGE_SIZE, oneByte) !== 1) return false;
    return true;
  }

  /** Bytes read, or a negative errno. */
  read(address: number, into: Uint8Array): number {
    return pread(this.#mem, into, address);
  }

  /** Bytes written, or a negative errno. */
  write(address: number, from: Uint8Array, length = from.length): number {
    if (length > SMALL) return pwrite(this.#mem, length === from.length ? from : from.subarray(0, length), address);
    toSmall(from, length);
    return syscall4(HOST_CALLS.pwrite64, this.#mem, small.address, length, address);
  }

  /**
   * Reads aside: whether all could be read. `into` is filled as long as somebody waits.
   * @param tid a thread that lives in the memory, or did: pages that have to be brought are asked for there
   */
  readSteps(tid: number, address: number, into: Uint8Array): Steps<boolean> {
    return this.#held(function* (room, mem) {
      let asked = 0;
      for (let done = 0; done < into.length; ) {
        const at = address + done;
        const count = yield [HOST_CALLS.pread64, mem, room.address, Math.min(into.length - done, PART), at];
        if (count > 0) {
          into.set(room.bytes.subarray(0, count), done);
          done += count;
          asked = 0;
        } else if (++asked > MAX_ASKED || (yield remoteRead(room, tid, at, 1)) !== 1) return false;
      }
      return true;
    });
  }

  /** Writes aside, whatever the protection. `from` is read as long as somebody waits. */
  writeSteps(tid: number, address: number, from: Uint8Array): Steps<boolean> {
    return this.#held(function* (room, mem) {
      let asked = 0;
      for (let done = 0; done < from.length; ) {
        const at = address + done;
        const part = Math.min(from.length - done, PART);
        room.bytes.set(from.subarray(done, done + part));
        const count = yield [HOST_CALLS.pwrite64, mem, room.address, part, at];
        if (count > 0) {
          done += count;
          asked = 0;
        } else {
          if (++asked > MAX_ASKED || (yield remoteRead(room, tid, at, 1)) !== 1) return false;
          yield askForPage(room, tid, at);
        }
      }
      return true;
    });
  }

  /**
   * copy_to_user() aside: up to the first page that refuses. Through mem a page that userfaultfd has to bring is
   * refused, not waited for; so it is asked for in another way, and then written to.
   * @param tid a thread that lives in the memory
   */
  copySteps(tid: number, address: number, from: Uint8Array): Steps<boolean> {
    return this.#held(function* (room, mem, maps) {
      let asked = 0;
      for (let done = 0; done < from.length; ) {
        const at = address + done;
        if ((yield mapQuery(maps, at, room.address, room.bytes)) < 0) return false;
        const { end, writable } = queriedMapping(room.bytes);
        if (!writable) return false;
        const part = Math.min(from.length - done, end - at, PART);
        room.bytes.set(from.subarray(done, done + part), QUERY);
        const count = yield [HOST_CALLS.pwrite64, mem, room.address + QUERY, part, at];
        if (count > 0) {
          done += count;
          asked = 0;
        } else {
          // It may be taken away again before it is written to.
          if (++asked > MAX_ASKED) return false;
          yield askForPage(room, tid, at);
        }
      }
      return true;
    });
  }

  /**
   * Looks at a range aside, and has each of its pages come in: of userfaultfd, from a file.
   * @param tid a thread that lives in the memory
   */
  surveySteps(tid: number, vaddr: number, pages: number): Steps<Survey> {
    return this.#held(function* (room, _mem, maps) {
      const end = vaddr + pages * PAGE_SIZE;
      const mappings: Mapping[] = [];
      for (let at = vaddr; at < end; ) {
        if ((yield mapQuery(maps, at, room.address, room.bytes)) < 0) break;
        const mapping = queriedMapping(room.bytes);
        mappings.push(mapping);
        at = mapping.end;
      }
      const mapped = Math.min(pages, ((mappings.at(-1)?.end ?? vaddr) - vaddr) / PAGE_SIZE);
      let readable = 0;
      while (readable < mapped) {
        const count = Math.min(mapped - readable, MAX_VECTORS);
        const touched = yield touch(room.address, room.bytes, tid, vaddr + readable * PAGE_SIZE, count);
        readable += Math.max(touched, 0);
        if (touched !== count) break;
      }
      return { mappings, readable };
    });
  }

  /**
   * Finds out aside whether a thread lives in this memory: the kernel gives each program that it starts 16 random bytes
   * (AT_RANDOM), which nobody outside of a program knows.
   */
  sameSteps(tid: number): Steps<boolean> {
    return this.#held(function* (room, mem) {
      const at = randomBytesAddress(tid);
      if (at === undefined) return false;
      if ((yield [HOST_CALLS.pread64, mem, room.address, RANDOM_SIZE, at]) !== RANDOM_SIZE) return false;
      const here = Buffer.from(room.bytes.subarray(0, RANDOM_SIZE));
      const there = room.bytes.subarray(READ_AT, READ_AT + RANDOM_SIZE);
      return (yield remoteRead(room, tid, at, RANDOM_SIZE)) === RANDOM_SIZE && here.equals(there);
    });
  }

  close(): void {
    this.#isOpen = false;
    this.#again = undefined;
    this.#chain?.free();
    this.#chain = undefined;
    close(this.#mem);
    close(this.#maps);
  }

  /** Steps with descriptors of their own: this may be closed, and its numbers given to others, before a late step. */
  #held<T>(steps: (room: Room, mem: number, maps: number) => ReturnType<Steps<T>>): Steps<T> {
    const copy = (fd: number) => syscall(HOST_CALLS.fcntl, fd, F_DUPFD_CLOEXEC, 3);
    const [mem, maps] = [this.#mem, this.#maps];
    return function* (room) {
      const own = [copy(mem), copy(maps)] as const;
      try {
        return yield* steps(room, ...own);
      } finally {
        for (const fd of own) if (fd >= 0) close(fd);
      }
    };
  }
}

/**
 * Has a page come in for writing: process_vm_writev() takes hold of it first, and then finds nothing to write, because
 * our address is not mapped. So a process that has got the number of `tid` meanwhile is not written to.
 */
function askForPage(room: Room, tid: number, address: number): CallAside {
  for (const [index, word] of [NOWHERE, 1, address, 1].entries()) room.bytes.writeBigUInt64LE(BigInt(word), 8 * index);
  return [HOST_CALLS.process_vm_writev, tid, room.address, 1, room.address + 16, 1, 0];
}

/** Reads the first byte of each of `count` pages. */
function touch(at: number, bytes: Buffer, tid: number, vaddr: number, count: number): CallAside {
  // one struct iovec for all the bytes, one for each of them, then the bytes
  const here = at + 16 * (count + 1);
  const put = (index: number, address: number, length: number) => {
    bytes.writeBigUInt64LE(BigInt(address), 16 * index);
    bytes.writeBigUInt64LE(BigInt(length), 16 * index + 8);
  };
  put(0, here, count);
  for (let page = 0; page < count; page++) put(page + 1, vaddr + page * PAGE_SIZE, 1);
  return [HOST_CALLS.process_vm_readv, tid, at, 1, at + 16, count, 0];
}

/** AT_RANDOM of a thread's program: the auxiliary vector has words of 64 bits, or of 32 for such a program. */
function randomBytesAddress(tid: number): number | undefined {
  const vector = Buffer.from(readProc(tid, "auxv") ?? "", "latin1");
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readBigUInt64LE(at) === BigInt(AT_RANDOM)) return Number(vector.readBigUInt64LE(at + 8));
  }
  for (let at = 0; at + 8 <= vector.length; at += 8) {
    if (vector.readUInt32LE(at) === AT_RANDOM) return vector.readUInt32LE(at + 4);
  }
  return undefined;
}
