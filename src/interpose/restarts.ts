import { monotonic } from "../kernel/monotonic.ts";

/** A thread that makes its call again does it at once: after that it is another one. Milliseconds. */
const SOON_MS = 1000;
/** Answers that are kept; further ones are not. */
const MAX_KEPT = 256;

interface Answer {
  readonly value: number;
  /** A negative errno, or 0. */
  readonly error: number;
}

/**
 * Answers that did not reach their callers. Under a filter without WAIT_KILLABLE_RECV, as container runtimes make it, a
 * signal takes a thread out of a call that we have carried out; it then makes it again, by itself (SA_RESTART) or
 * because it got EINTR. Go's runtime sends such signals all the time.
 */
export class Restarts {
  readonly #kept = new Map<number, Answer & { readonly call: Buffer; readonly at: number }>();
  readonly #now: () => number;

  /** @param now milliseconds */
  constructor(now: () => number = monotonic) {
    this.#now = now;
  }

  /** @param call its number, its place in the program and its arguments */
  keep(tid: number, call: Uint8Array, answer: Answer): void {
    if (this.#kept.size >= MAX_KEPT) this.#forgetOld();
    if (this.#kept.size < MAX_KEPT) this.#kept.set(tid, { ...answer, call: Buffer.from(call), at: this.#now() });
  }

  /** The answer to the call that a thread makes, when it is the one that it made last. */
  take(tid: number, call: Uint8Array): Answer | undefined {
    const known = this.#kept.get(tid);
    if (known === undefined) return undefined;
    this.#kept.delete(tid);
    return known.call.equals(call) && this.#now() - known.at < SOON_MS ? known : undefined;
  }

  #forgetOld(): void {
    const now = this.#now();
    for (const [tid, { at }] of this.#kept) if (now - at >= SOON_MS) this.#kept.delete(tid);
  }
}
