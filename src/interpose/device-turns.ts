import type { DeviceWork } from "../kernel/host-kernel.ts";

/** What devices do between two looks at the calls that wait, in milliseconds: nobody waits longer for them. */
const SLICE_MS = 1;
/** How long calls that follow each other keep devices from their turn, in milliseconds. */
const CALLS_MS = 1;
/** A program that makes one call after the other is waited for this long between two of them, in microseconds. */
const NEXT_CALL_US = 30;

/**
 * Whose turn it is in the only thread while devices have long jobs: as long as calls come, they and the devices have a millisecond each in
 * turn; when none comes, devices go on.
 */
export class DeviceTurns {
  readonly #work: DeviceWork | undefined;
  readonly #now: () => number;
  #lastSlice = 0;
  #callsCome = false;

  /** @param now milliseconds */
  constructor(work: DeviceWork | undefined, now: () => number = () => performance.now()) {
    this.#work = work;
    this.#now = now;
    if (work) work.inSlices = true;
  }

  /** Microseconds that may be waited for a call now; -1: as long as nothing else wants attention, since no device has anything to do. */
  patience(): number {
    if (!this.#work?.isPending) return -1;
    return this.#callsCome && this.#now() - this.#lastSlice < CALLS_MS ? NEXT_CALL_US : 0;
  }

  /**
   * Gives devices a slice when it is their turn.
   * @param received whether a call was just handled
   */
  take(received: boolean): void {
    const work = this.#work;
    if (!work?.isPending) return;
    this.#callsCome = received;
    if (received && this.#now() - this.#lastSlice < CALLS_MS) return;
    try {
      work.run(SLICE_MS);
    } finally {
      this.#lastSlice = this.#now();
    }
  }

  /** Nobody gives slices any more. */
  end(): void {
    if (this.#work) this.#work.inSlices = false;
  }
}
