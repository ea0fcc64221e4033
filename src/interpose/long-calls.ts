import { monotonic } from "../kernel/monotonic.ts";
import type { RequestSteps } from "../kernel/request-steps.ts";
import type { CallContext, HeldCall } from "./call-context.ts";
import type { PendingWork } from "./turns.ts";

/** A call that takes long: its caller waits, others do not. */
interface LongCall {
  readonly call: HeldCall;
  readonly steps: RequestSteps;
}

/** How a call goes on: with a value at last, or for as long as somebody waits for it. */
export type Outcome = number | "later";

/** Calls that take more than a moment, a request in steps each. */
export class LongCalls {
  readonly #now: () => number;
  readonly #moment: number;
  readonly #began: () => void;
  /** In the order of their turns. */
  readonly #calls: LongCall[] = [];

  /**
   * @param moment milliseconds that a call may take before it is put aside
   * @param began is told that a call was put aside
   * @param now milliseconds
   */
  constructor(moment: number, began: () => void, now: () => number = monotonic) {
    this.#moment = moment;
    this.#began = began;
    this.#now = now;
  }

  get isPending(): boolean {
    return this.#calls.length > 0;
  }

  /** Begins the call in hand. Throws what it throws. */
  begin(context: CallContext, steps: RequestSteps): Outcome {
    const value = this.#advance(steps, this.#moment);
    if (value !== undefined) return value;
    this.#calls.push({ call: context.hold(), steps });
    this.#began();
    return "later";
  }

  /**
   * Goes on with the call whose turn it is.
   * @param conclude handles the call that is in hand again: calls its argument, which throws what the request throws,
   * and answers unless it is for later
   */
  run(context: CallContext, milliseconds: number, conclude: (goOn: () => Outcome) => void): void {
    const next = this.#calls.shift();
    if (next === undefined) return;
    // a caller that was killed or interrupted does not wait any more
    if (!context.resume(next.call)) return;
    conclude(() => {
      const value = this.#advance(next.steps, milliseconds);
      if (value !== undefined) return value;
      this.#calls.push(next);
      return "later";
    });
  }

  #advance(steps: RequestSteps, milliseconds: number): number | undefined {
    const end = this.#now() + milliseconds;
    do {
      const { done, value } = steps.next();
      if (done) return value;
    } while (this.#now() < end);
    return undefined;
  }
}

/** The programs that have such calls, whose turns follow each other. */
export class LongCallers<T extends { readonly longCalls: { readonly isPending: boolean } }> implements PendingWork {
  readonly #callers = new Set<T>();
  readonly #resume: (caller: T, milliseconds: number) => void;

  /** @param resume goes on with a caller's calls for so long */
  constructor(resume: (caller: T, milliseconds: number) => void) {
    this.#resume = resume;
  }

  get isPending(): boolean {
    return this.#callers.size > 0;
  }

  add(caller: T): void {
    this.#callers.add(caller);
  }

  delete(caller: T): void {
    this.#callers.delete(caller);
  }

  run(milliseconds: number): void {
    const callers = [...this.#callers];
    for (const caller of callers) {
      this.#resume(caller, milliseconds / callers.length);
      if (!caller.longCalls.isPending) this.#callers.delete(caller);
    }
  }
}
