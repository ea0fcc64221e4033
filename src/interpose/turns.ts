/** What is to be done between calls, piece by piece: devices' jobs, calls that take long. */
export interface PendingWork {
  readonly isPending: boolean;
  /** Goes on for so long and one small piece more. */
  run(milliseconds: number): void;
}

/** What work does between two looks at the calls that wait, in milliseconds: no call waits longer for it. */
const SLICE_MS = 1;
/** How long calls that follow each other keep work from its turn, in milliseconds. */
const CALLS_MS = 1;
/** A program that makes one call after the other is waited for this long between two of them, in microseconds. */
const NEXT_CALL_US = 30;

/**
 * Whose turn it is in the only thread while there is work that takes long: as long as calls come, they and the work
 * have a millisecond each in turn; when none comes, the work goes on.
 */
export class Turns {
  readonly #works: readonly PendingWork[];
  readonly #now: () => number;
  #lastSlice = 0;
  #callsCome = false;

  /** @param now milliseconds */
  constructor(works: readonly PendingWork[], now: () => number = () => performance.now()) {
    this.#works = works;
    this.#now = now;
  }

  /** Whether there is work. */
  get isPending(): boolean {
    return this.#works.some(isPending);
  }

  /**
   * Microseconds that may be waited for a call now; -1: as long as nothing else wants attention, since there is no
   * work.
   */
  patience(): number {
    if (!this.isPending) return -1;
    return this.#callsCome && this.#now() - this.#lastSlice < CALLS_MS ? NEXT_CALL_US : 0;
  }

  /**
   * Gives the work a slice when it is its turn.
   * @param received whether a call was just handled
   * @returns whether some work was done
   */
  take(received: boolean): boolean {
    if (!this.isPending) return false;
    const pending = this.#works.filter(isPending);
    this.#callsCome = received;
    if (received && this.#now() - this.#lastSlice < CALLS_MS) return false;
    try {
      for (const work of pending) work.run(SLICE_MS / pending.length);
    } finally {
      this.#lastSlice = this.#now();
    }
    return true;
  }
}

function isPending(work: PendingWork): boolean {
  return work.isPending;
}
