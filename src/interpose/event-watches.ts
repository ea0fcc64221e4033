import { Arena } from "./arena.ts";
import type { Epoll } from "./epoll.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { RWF_NOWAIT } from "./linux.ts";

// struct iovec {base, length} @0, then the eventfd's counter.
const COUNTER = 16;
const arena = new Arena(COUNTER + 8);
arena.setU64(0, arena.address + COUNTER);
arena.setU64(8, 8);
/** preadv2()'s offset for "where the file stands". */
const HERE = -1;

/** Eventfds of programs whose being written to means something to the model (the kernel's virqfds). */
export class EventWatches {
  readonly #handlers = new Map<number, () => void>();
  readonly #epoll: Epoll;
  /** The process ids of the programs that are served. */
  readonly programs: () => Iterable<number>;

  /** @param epoll where the server waits */
  constructor(epoll: Epoll, programs: () => Iterable<number>) {
    this.#epoll = epoll;
    this.programs = programs;
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

  /** Handles what was written since the last time: before a call of the program, which may have written before it called. */
  check(): void {
    if (this.#handlers.size > 0) for (const [fd, handler] of this.#handlers) this.#check(fd, handler);
  }

  #check(fd: number, handler: () => void): void {
    // The counter is taken as virqfd_wakeup() does. Without waiting: the program may have read it meanwhile.
    if (syscall(HOST_CALLS.preadv2, fd, arena.address, 1, HERE, HERE, RWF_NOWAIT) === 8) handler();
  }
}
