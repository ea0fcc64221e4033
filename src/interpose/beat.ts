import { Arena } from "../native/arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { CLOCK_MONOTONIC, O_CLOEXEC, O_NONBLOCK } from "./linux.ts";

const NANOSECONDS = 1_000_000;
// struct itimerspec {interval {s, ns}, value {s, ns}}, then what read() fills
const INTERVAL = 8;
const VALUE = 24;
const COUNT = 32;

/**
 * A timer that rings again and again while calls come: so that waiting for each of them needs no time limit, for which
 * the kernel would set a timer each time.
 */
export class Beat {
  /** Readable when it rings. */
  readonly fd = syscall(HOST_CALLS.timerfd_create, CLOCK_MONOTONIC, O_CLOEXEC | O_NONBLOCK);
  readonly #arena = new Arena(COUNT + 8);
  readonly #milliseconds: number;
  #isOn = false;
  #isUsed = false;
  /** It has rung, and nobody has set it back. */
  isDue = false;

  /** @param milliseconds from one ringing to the next, below a second */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** A call came: it rings for as long as others follow. */
  use(): void {
    this.#isUsed = true;
    if (!this.#isOn) this.#set(true);
  }

  /** It has rung. It does no more when no call came since the last time. */
  hear(): void {
    syscall(HOST_CALLS.read, this.fd, this.#arena.address + COUNT, 8);
    this.isDue = true;
    if (!this.#isUsed) this.#set(false);
    this.#isUsed = false;
  }

  close(): void {
    close(this.fd);
  }

  #set(isOn: boolean): void {
    const nanoseconds = isOn ? this.#milliseconds * NANOSECONDS : 0;
    this.#arena.setU64(INTERVAL, nanoseconds);
    this.#arena.setU64(VALUE, nanoseconds);
    const isSet = syscall(HOST_CALLS.timerfd_settime, this.fd, 0, this.#arena.address, 0) === 0;
    this.#isOn = isOn && isSet;
  }
}
