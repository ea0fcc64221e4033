import { PeerSilence } from "./peer-error.ts";
import { pollOne } from "./sockets.ts";

/** How often a peer that goes on asking may have the time that an answer has. */
const MOST_ROUNDS = 10;
/** What is left of a wait that a signal has interrupted, in milliseconds: as a rule it ends this process. */
const AFTER_SIGNAL_MS = 100;

/**
 * A wait that ends: after the patience, or after so many of them when the peer goes on asking, or soon after a signal.
 */
export class Wait {
  readonly #what: string;
  readonly #patience: number;
  readonly #last: number;
  #end: number;
  #isInterrupted = false;

  constructor(what: string, patience: number) {
    const now = performance.now();
    this.#what = what;
    this.#patience = patience;
    this.#end = now + patience;
    this.#last = now + MOST_ROUNDS * patience;
  }

  /** The peer is at work. */
  goesOn(): void {
    if (!this.#isInterrupted) this.#end = Math.min(performance.now() + this.#patience, this.#last);
  }

  /**
   * @param most waits no longer than so many milliseconds
   * @returns POLL* that are there; 0 when there are none yet. @throws PeerError when the time is over
   */
  for(fd: number, events: number, most = Number.POSITIVE_INFINITY): number {
    for (;;) {
      const left = this.#end - performance.now();
      const found = left > 0 ? pollOne(fd, events, Math.min(left, most)) : 0;
      if (typeof found === "number" && found !== 0) return found;
      if (left > most && found === 0) return 0;
      if (left <= 0)
        throw new PeerSilence(
          this.#isInterrupted
            ? `a signal came while there was no ${this.#what}`
            : `no ${this.#what} within ${this.#patience / 1000} s`,
        );
      if (found !== "interrupted") continue;
      this.#isInterrupted = true;
      this.#end = Math.min(this.#end, performance.now() + AFTER_SIGNAL_MS);
    }
  }
}
