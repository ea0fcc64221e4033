import { fail, hex } from "../kernel/errors.ts";
import type { Word } from "../kernel/word.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { HeldMemory } from "./held-memory.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { PAGE_SIZE } from "./memory-map.ts";

// One struct iovec for our side @0 and one for the other @16, then the bytes in between.
const DATA = 64;
/** Bytes that one system call moves. */
const CHUNK = 256 * 1024;
/** Up to here, in bytes, a loop copies faster than set(), which needs a view of the part first. */
const SMALL = 64;
const arena = new Arena(DATA + CHUNK);

/** copy_from_user() for a thread: EFAULT when any byte cannot be read. */
export function copyFromThread(tid: number, address: Word, into: Uint8Array, length: number): void {
  for (let done = 0; done < length; ) {
    const part = Math.min(length - done, CHUNK);
    if (transfer(HOST_CALLS.process_vm_readv, tid, address, done, part) !== part) {
      unreadable(address, length);
    }
    if (part <= SMALL) for (let i = 0; i < part; i++) into[done + i] = arena.bytes[DATA + i]!;
    else into.set(arena.bytes.subarray(DATA, DATA + part), done);
    done += part;
  }
}

/** copy_to_user() for a thread: EFAULT at the first page that refuses, with what lies before it written. */
export function copyToThread(tid: number, address: Word, from: Uint8Array, length: number): void {
  for (let done = 0; done < length; ) {
    const part = Math.min(length - done, CHUNK);
    if (part <= SMALL) for (let i = 0; i < part; i++) arena.bytes[DATA + i] = from[done + i]!;
    else arena.bytes.set(part === from.length ? from : from.subarray(done, done + part), DATA);
    if (transfer(HOST_CALLS.process_vm_writev, tid, address, done, part) !== part) {
      unwritable(address, length);
    }
    done += part;
  }
}

/** strndup_user() for a thread: EINVAL when `max` bytes hold no NUL, EFAULT as above. */
export function stringFromThread(
  tid: number,
  address: Word,
  max: number,
  encoding: "utf8" | "latin1" = "utf8",
): string {
  const parts: Buffer[] = [];
  for (let done = 0; done < max; ) {
    // Up to the end of a page at a time: a string may end right before one that is not there.
    const inPage = typeof address === "number" ? PAGE_SIZE - ((address + done) % PAGE_SIZE) : 1;
    const part = Math.min(max - done, inPage);
    if (transfer(HOST_CALLS.process_vm_readv, tid, address, done, part) !== part) {
      fail("EFAULT", `no string can be read at ${hex(address)}`);
    }
    const bytes = arena.bytes.subarray(DATA, DATA + part);
    const end = bytes.indexOf(0);
    if (end >= 0) {
      return parts.length === 0
        ? bytes.toString(encoding, 0, end)
        : Buffer.concat([...parts, bytes.subarray(0, end)]).toString(encoding);
    }
    parts.push(Buffer.from(bytes));
    done += part;
  }
  longString(address, max);
}

export function unreadable(address: Word, length: number): never {
  fail("EFAULT", `the program cannot read ${length} bytes at ${hex(address)} itself`);
}

export function unwritable(address: Word, length: number): never {
  fail("EFAULT", `the program cannot write ${length} bytes at ${hex(address)} itself`);
}

export function longString(address: Word, max: number): never {
  fail("EINVAL", `the string at ${hex(address)} is longer than ${max - 1} bytes`);
}

/** Moves `length` bytes at `address + offset` of a thread to or from the arena; bytes moved, or a negative errno. */
function transfer(number: number, tid: number, address: Word, offset: number, length: number): number {
  // Only kernel addresses are beyond what a number holds.
  if (typeof address !== "number") return -ERRNO.EFAULT;
  arena.setU64(0, arena.address + DATA);
  arena.setU64(8, length);
  arena.setU64(16, address + offset);
  arena.setU64(24, length);
  const moved = syscall(number, tid, arena.address, 1, arena.address + 16, 1, 0);
  if ((moved !== -ERRNO.EPERM && moved !== -ERRNO.ENOSYS) || !areCopiesRefused()) return moved;
  return throughMem(number === HOST_CALLS.process_vm_writev, tid, address + offset, length);
}

/** The same through /proc/TID/mem, which takes the same rights and no system call that a filter refuses. */
function throughMem(write: boolean, tid: number, address: number, length: number): number {
  const memory = HeldMemory.open(tid);
  const bytes = arena.bytes.subarray(DATA, DATA + length);
  const moved = write ? memory?.copyOut(address, bytes) : memory?.copyIn(address, bytes, length) && length;
  memory?.close();
  return moved || -ERRNO.EFAULT;
}

let isRefused: boolean | undefined;

/**
 * Whether process_vm_readv() is refused whatever it is asked for, by a container's filter (docker before 23 allows it
 * only with CAP_SYS_PTRACE): one that moves nothing works everywhere else.
 */
function areCopiesRefused(): boolean {
  isRefused ??= syscall(HOST_CALLS.process_vm_readv, process.pid, 0, 0, 0, 0, 0) < 0;
  return isRefused;
}
