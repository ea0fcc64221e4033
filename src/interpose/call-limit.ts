import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { loadedHandler } from "./aside/thread-code.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall, syscall3 } from "./libc.ts";
import { CLOCK_MONOTONIC, SA_RESTORER, SIGACTION_SIZE, SIGEV_THREAD_ID, SIGSET_SIZE } from "./linux.ts";

/** A real-time signal that neither node, nor glibc (32, 33), nor musl (32 to 34) has a use for. */
const SIGNAL = 50;
// struct sigaction: handler@0, flags@8, restorer@16, mask@24
const HANDLER = 0;
const FLAGS = 8;
const RESTORER = 16;
// struct sigevent: value@0, signo s32@8, notify s32@12, tid s32@16
const EVENT = 0;
/** timer_t* */
const TIMER = 64;
// struct itimerspec {interval {s, ns}, value {s, ns}}: one that rings, one that does not
const SET = 96;
const UNSET = 128;
const arena = new Arena(160);

/**
 * Ends system calls of this thread that wait too long, by a signal that does nothing else. Only calls that nothing has
 * come of when a signal interrupts them can be made so.
 */
export class CallLimit {
  /** The timer's number; undefined when this thread can have none. */
  readonly #timer: number | undefined;

  readonly microseconds: number;

  /** @param microseconds that a call may take */
  constructor(microseconds: number) {
    this.microseconds = microseconds;
    this.#timer = makeTimer();
    arena.setU64(SET + 8, microseconds * 1000);
    // and again, for the case that it rings before the call waits
    arena.setU64(SET + 24, microseconds * 1000);
  }

  get isUsable(): boolean {
    return this.#timer !== undefined;
  }

  /** Makes a call; -EINTR when it took too long, and at once where calls cannot be limited. */
  syscall3(number: number, a: number, b: number, c: number): number {
    if (this.#timer === undefined) return -ERRNO.EINTR;
    syscall(HOST_CALLS.timer_settime, this.#timer, 0, arena.address + SET, 0);
    const result = syscall3(number, a, b, c);
    syscall(HOST_CALLS.timer_settime, this.#timer, 0, arena.address + UNSET, 0);
    return result;
  }

  close(): void {
    if (this.#timer !== undefined) syscall3(HOST_CALLS.timer_delete, this.#timer, 0, 0);
  }
}

function makeTimer(): number | undefined {
  const handler = loadedHandler();
  if (handler === undefined) return undefined;
  arena.clear(0, 160);
  arena.setU64(HANDLER, handler.heard);
  // Not SA_RESTART: the call is to end.
  arena.setU64(FLAGS, handler.back === 0 ? 0 : SA_RESTORER);
  arena.setU64(RESTORER, handler.back);
  if (syscall(HOST_CALLS.rt_sigaction, SIGNAL, arena.address, 0, SIGSET_SIZE) < 0) return undefined;
  arena.clear(0, SIGACTION_SIZE);
  arena.setU32(EVENT + 8, SIGNAL);
  arena.setU32(EVENT + 12, SIGEV_THREAD_ID);
  arena.setU32(EVENT + 16, syscall(HOST_CALLS.gettid));
  const made = syscall(HOST_CALLS.timer_create, CLOCK_MONOTONIC, arena.address + EVENT, arena.address + TIMER);
  return made < 0 ? undefined : arena.s32(TIMER);
}
