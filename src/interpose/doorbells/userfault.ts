import { Arena } from "../../native/arena.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall, syscall3 } from "../libc.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../linux.ts";
import { PAGE_SIZE } from "../memory-map.ts";
import type { MakeCall } from "./borrowed-thread.ts";

// linux/userfaultfd.h
const UFFD_USER_MODE_ONLY = 1;
const UFFDIO_API = 0xc018_aa3f;
const UFFDIO_REGISTER = 0xc020_aa00;
const UFFDIO_WRITEPROTECT = 0xc018_aa06;
const UFFD_API = 0xaa;
const REGISTER_MODE_WP = 2;
const WRITEPROTECT_MODE_WP = 1;
const FEATURE_PAGEFAULT_FLAG_WP = 1 << 0;
const FEATURE_EVENT_FORK = 1 << 1;
const FEATURE_EVENT_REMAP = 1 << 2;
const FEATURE_THREAD_ID = 1 << 8;
const FEATURE_EXACT_ADDRESS = 1 << 11;
const FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
const NEEDED =
  FEATURE_PAGEFAULT_FLAG_WP |
  FEATURE_EVENT_REMAP |
  FEATURE_THREAD_ID |
  FEATURE_EXACT_ADDRESS |
  FEATURE_WP_HUGETLBFS_SHMEM;
const EVENT_PAGEFAULT = 0x12;
const EVENT_FORK = 0x13;
const EVENT_REMAP = 0x14;
// struct uffd_msg: event u8@0, arg@8: pagefault {flags u64@8, address u64@16, ptid u32@24}, fork {ufd u32@8},
// remap {from u64@8, to u64@16, len u64@24}
const MESSAGE_SIZE = 32;
/** Events that events() tells at most. */
export const MESSAGES = 16;

const arena = new Arena(32);
const messages = new Arena(MESSAGE_SIZE * MESSAGES);

/** What happened in a memory that is watched. */
export type FaultEvent =
  /** A thread is about to write to this address, and stands still until unprotect(). */
  | { readonly type: "write"; readonly address: number; readonly tid: number }
  /** The memory has a copy, in a child: `fd` is its userfaultfd. */
  | { readonly type: "fork"; readonly fd: number }
  /** A mapping has moved, as it is. */
  | { readonly type: "move"; readonly from: number; readonly to: number; readonly length: number };

/**
 * Has a thread make a userfaultfd of its memory, and takes it over. The thread keeps none.
 * @param pidfd of its process
 * @returns undefined when it may not, or the machine has not what is needed
 */
export function* userfaultOf(call: MakeCall, pidfd: number): Generator<void, Userfault | undefined> {
  // as whoever may: then it is told of the kernel's accesses on behalf of the program too
  for (const mode of [0, UFFD_USER_MODE_ONLY]) {
    const theirs = yield* call(HOST_CALLS.userfaultfd, O_CLOEXEC | O_NONBLOCK | mode);
    if (theirs === -ERRNO.EPERM && mode === 0) continue;
    if (theirs < 0) return undefined;
    const fd = syscall(HOST_CALLS.pidfd_getfd, pidfd, theirs, 0);
    yield* call(HOST_CALLS.close, theirs);
    return fd < 0 ? undefined : Userfault.agree(fd, mode !== 0);
  }
  return undefined;
}

/**
 * The userfaultfd of a program's memory, of which mappings of files in memory are protected from writing: a thread that
 * writes there is stopped and announced. Nothing of this is seen by the program. When the descriptor is closed all
 * threads go on, and nothing is protected.
 */
export class Userfault {
  readonly fd: number;
  /** It hears of forks; otherwise a child's writes are announced to nobody. */
  readonly seesForks: boolean;
  /**
   * Accesses of the kernel on behalf of the program fail where it is protected (EFAULT): read() into it, and writes of
   * a KVM guest.
   */
  readonly isUserModeOnly: boolean;

  private constructor(fd: number, seesForks: boolean, isUserModeOnly: boolean) {
    this.fd = fd;
    this.seesForks = seesForks;
    this.isUserModeOnly = isUserModeOnly;
  }

  /**
   * Takes over a new userfaultfd.
   * @returns undefined when the kernel has not what is needed: the descriptor is closed
   */
  static agree(fd: number, isUserModeOnly: boolean): Userfault | undefined {
    for (const forks of [FEATURE_EVENT_FORK, 0]) {
      arena.setU64(0, UFFD_API);
      arena.setU64(8, NEEDED | forks);
      arena.setU64(16, 0);
      // forks are told to whoever has CAP_SYS_PTRACE
      if (syscall3(HOST_CALLS.ioctl, fd, UFFDIO_API, arena.address) === 0)
        return new Userfault(fd, forks !== 0, isUserModeOnly);
    }
    close(fd);
    return undefined;
  }

  /** The same of a child's copy. */
  ofChild(fd: number): Userfault {
    return new Userfault(fd, this.seesForks, this.isUserModeOnly);
  }

  /** Watches a whole mapping; nothing of it is protected yet. @returns 0 or a negative errno */
  watch(start: number, length: number): number {
    arena.setU64(0, start);
    arena.setU64(8, length);
    arena.setU64(16, REGISTER_MODE_WP);
    return syscall3(HOST_CALLS.ioctl, this.fd, UFFDIO_REGISTER, arena.address);
  }

  /**
   * Stops the next thread that writes to a page.
   * @returns 0 or a negative errno: EAGAIN as long as the program is forking or moving a mapping, others when the page
   * is not mapped there any more
   */
  protect(page: number): number {
    return this.#setProtection(page, WRITEPROTECT_MODE_WP);
  }

  /** Lets threads go on that write to a page, and all that do so later. @returns as protect() does */
  unprotect(page: number): number {
    return this.#setProtection(page, 0);
  }

  /** What has happened since it was asked last, at most MESSAGES: then there may be more. */
  events(): FaultEvent[] {
    const length = syscall3(HOST_CALLS.read, this.fd, messages.address, messages.size);
    const found: FaultEvent[] = [];
    for (let at = 0; at + MESSAGE_SIZE <= length; at += MESSAGE_SIZE) {
      const event = messages.bytes[at];
      if (event === EVENT_PAGEFAULT)
        found.push({ type: "write", address: messages.u64(at + 16), tid: messages.u32(at + 24) });
      else if (event === EVENT_FORK) found.push({ type: "fork", fd: messages.u32(at + 8) });
      else if (event === EVENT_REMAP) {
        const [from, to, moved] = [messages.u64(at + 8), messages.u64(at + 16), messages.u64(at + 24)];
        found.push({ type: "move", from, to, length: moved });
      }
    }
    return found;
  }

  close(): void {
    close(this.fd);
  }

  #setProtection(page: number, mode: number): number {
    arena.setU64(0, page);
    arena.setU64(8, PAGE_SIZE);
    arena.setU64(16, mode);
    return syscall3(HOST_CALLS.ioctl, this.fd, UFFDIO_WRITEPROTECT, arena.address);
  }
}
