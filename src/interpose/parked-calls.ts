import type { Job } from "./aside/aside-jobs.ts";
import type { PendingInstall } from "./installs.ts";
import type { Listener } from "./listener.ts";

/** Looks that a call may have to wait for. */
const MAX_ROUNDS = 10_000;

/** What a call that is made again knows already, by the key of the look. */
export type Taken = Map<string, Job<unknown>>;

/** Calls that wait for their caller's memory or files, while others are served. */
export class ParkedCalls {
  readonly #listener: Listener;
  /** Makes the call that the listener holds again. */
  again: (taken: Taken) => void = () => {};

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  /** Puts the call in hand off until a look has been taken. False when it has been put off too often. */
  untilTaken(blocked: { readonly taken: Taken; readonly job: Job<unknown> } | undefined): boolean {
    if (blocked === undefined || blocked.taken.size > MAX_ROUNDS) return false;
    const { taken, job } = blocked;
    const go = this.hold(() => this.again(taken));
    if (job.isDone) go();
    else
      job.whenDone = () => {
        go();
      };
    return true;
  }

  /**
   * Puts the answer to the call in hand off.
   * @returns to be called for the answer; false when the caller was killed
   */
  hold(answer: () => void): () => boolean {
    const notification = this.#listener.copy();
    return () => {
      this.#listener.restore(notification);
      if (!this.#listener.isValid()) return false;
      answer();
      return true;
    };
  }

  /**
   * Puts the call in hand off until its caller has its descriptor. @param goOn hears the number, or a negative errno
   */
  untilInstalled({ job, undo }: PendingInstall, goOn: (number: number) => void): void {
    const go = this.hold(() => goOn(job.value));
    job.whenDone = () => {
      if (job.value < 0) undo();
      go();
    };
  }

  /** Puts the answer to the call in hand off until writes are done. @param answer hears whether all were */
  untilWritten(writes: readonly Job<boolean>[], answer: (written: boolean) => void): void {
    const go = this.hold(() => answer(writes.every(({ value }) => value)));
    const late = writes.filter(({ isDone }) => !isDone);
    let left = late.length;
    if (left === 0) go();
    for (const job of late) {
      job.whenDone = () => {
        left--;
        if (left === 0) go();
      };
    }
  }
}
