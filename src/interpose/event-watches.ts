import { Arena } from "../native/arena.ts";
import type { CallLimit } from "./call-limit.ts";
import { Epoll } from "./epoll.ts";
import { EventSignaller } from "./event-signaller.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall, syscall3 } from "./libc.ts";
import { POLLOUT, RWF_NOWAIT } from "./linux.ts";

// struct iovec {base, length} @0, then the eventfd's counter.
const COUNTER = 16;
const arena = new Arena(COUNTER + 8);
arena.setU64(0, arena.address + COUNTER);
arena.setU64(8, 8);
/** preadv2()'s offset for "where the file stands". */
const HERE = -1;

// struct pollfd {s32 fd, s16 events, s16 revents} @0; struct timespec of 0 @16
const poll = new Arena(32);
const one = new Arena(8);
one.setU64(0, 1);

function isWritable(fd: number): boolean {
  poll.setU32(0, fd);
  poll.setU32(4, POLLOUT);
  return syscall(HOST_CALLS.ppoll, poll.address, 1, poll.address + 16, 0, 0) === 1;
}

/** Eventfds of programs whose being written to means something to the model (the kernel's virqfds). */
export class EventWatches {
  readonly #handlers = new Map<number, () => void>();
  readonly #epoll = new Epoll();
  readonly #limit: CallLimit;
  #signaller: EventSignaller | undefined;
  /** The process ids of the programs that are served. */
  readonly programs: () => Iterable<number>;

  /** @param limit ends a write that waits */
  constructor(limit: CallLimit, programs: () => Iterable<number>) {
    this.#limit = limit;
    this.programs = programs;
  }

  /** Readable when one was written to. */
  get event(): number {
    return this.#epoll.fd;
  }

  /** Calls `handler` when the eventfd `fd` of ours is written to, and now if it was before. */
  add(fd: number, handler: () => void): void {
    this.#handlers.set(fd, handler);
    this.#epoll.add(fd);
    this.#check(fd, handler);
  }

  remove(fd: number): void {
    if (this.#handlers.delete(fd)) this.#epoll.remove(fd);
  }

  /**
   * Handles what was written since the last time: before a call of the program, which may have written before it
   * called.
   */
  check(): void {
    // One question for all of them. Each has its turn once: a handler may raise what it hears itself.
    for (let left = this.#handlers.size; left > 0; ) {
      const written = this.#epoll.ready();
      if (written.length === 0) break;
      left -= written.length;
      for (const fd of written) {
        const handler = this.#handlers.get(fd);
        if (handler) this.#check(fd, handler);
      }
    }
  }

  close(): void {
    this.#epoll.close();
    this.#signaller?.close();
  }

  /**
   * Raises an eventfd of ours by one, unless its counter is as high as it gets: the kernel's own signal is lost then,
   * too (fs/eventfd.c:eventfd_signal_mask).
   */
  raise(fd: number): void {
    this.#signaller ??= new EventSignaller();
    if (this.#signaller.signal(fd) || !isWritable(fd)) return;
    // The program may have filled it up since, and what is full is waited for.
    if (this.#limit.isUsable) this.#limit.syscall3(HOST_CALLS.write, fd, one.address, 8);
    else syscall3(HOST_CALLS.write, fd, one.address, 8);
  }

  #check(fd: number, handler: () => void): void {
    // The counter is taken as virqfd_wakeup() does. Without waiting: the program may have read it meanwhile.
    if (syscall(HOST_CALLS.preadv2, fd, arena.address, 1, HERE, HERE, RWF_NOWAIT) === 8) handler();
  }
}
