import type { DeviceTime } from "../device-clock.ts";

/** Unit of ITR and EITR, as the register lies, in milliseconds. */
const UNIT_MS = 256 / 1e6;

/** What messages are throttled by. */
export interface ThrottleRules {
  /** Vectors are numbers below this, which is at most 32. */
  readonly vectors: number;
  /** The register's value for a vector: how long it sends no other message after one; 0: it is not throttled. */
  interval(vector: number): number;
  /** Sends it now. */
  send(vector: number): void;
  /** Whether a message that was postponed is wanted still. */
  isWanted(vector: number): boolean;
}

/** Interrupt throttling: a vector that has sent a message sends the next one when its interval is over. */
export class Throttle {
  readonly #clock: DeviceTime;
  readonly #rules: ThrottleRules;
  /** Vectors that have sent a message and send no other for some time, and how that time is cancelled. */
  readonly #quiet = new Map<number, () => void>();
  /** Those of them that have one to send then. */
  readonly #postponed = new Set<number>();

  constructor(clock: DeviceTime, rules: ThrottleRules) {
    this.#clock = clock;
    this.#rules = rules;
  }

  /** Sends a vector's message, now or when its interval is over. */
  send(vector: number): void {
    if (this.#quiet.has(vector)) this.#postponed.add(vector);
    else this.#sendNow(vector);
  }

  /** All intervals are over. */
  expire(): void {
    for (const vector of [...this.#quiet.keys()]) this.#over(vector);
  }

  /** No message waits any more. */
  reset(): void {
    for (const cancel of this.#quiet.values()) cancel();
    this.#quiet.clear();
    this.#postponed.clear();
  }

  /** Vectors that are quiet, and those that have something to send, as two masks. */
  get timing(): readonly [quiet: number, postponed: number] {
    const mask = (vectors: Iterable<number>) => [...vectors].reduce((bits, vector) => bits | (1 << vector), 0);
    return [mask(this.#quiet.keys()), mask(this.#postponed)];
  }

  /** Goes on with what was saved: all times begin anew. */
  restore(quiet: number, postponed: number): void {
    this.reset();
    for (let vector = 0; vector < this.#rules.vectors; vector++) {
      if (quiet & (1 << vector)) this.#beQuiet(vector);
      if (postponed & (1 << vector)) this.#postponed.add(vector);
    }
  }

  #sendNow(vector: number): void {
    this.#beQuiet(vector);
    this.#rules.send(vector);
  }

  #beQuiet(vector: number): void {
    const interval = this.#rules.interval(vector);
    if (interval !== 0)
      this.#quiet.set(
        vector,
        this.#clock.later(interval * UNIT_MS, () => this.#over(vector)),
      );
  }

  #over(vector: number): void {
    this.#quiet.get(vector)?.();
    this.#quiet.delete(vector);
    if (this.#postponed.delete(vector) && this.#rules.isWanted(vector)) this.#sendNow(vector);
  }
}
