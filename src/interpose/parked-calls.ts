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
  /** Those whose callers have yet to get a descriptor. */
  readonly #installing = new Map<Job<number>, Buffer>();
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
    this.#installing.set(job, this.#listener.copy());
    job.whenDone = () => {
      this.#installing.delete(job);
      if (job.value < 0) undo();
      go();
    };
  }

  /** Whether a caller has yet to get a descriptor. */
  get isInstalling(): boolean {
    return this.#installing.size > 0;
  }

  /**
   * Puts the call in hand off when it may be about what a caller was just given that has been killed meanwhile: for
   * whoever saw it end, its files are closed.
   * @param go makes the call; it hears whether that is later
   */
  untilDeadHaveNothing(go: (isLater: boolean) => void, isLater = false): void {
    const job = this.#installing.size === 0 ? undefined : this.#installOfDead();
    if (job === undefined) {
      go(isLater);
      return;
    }
    const { whenDone } = job;
    const goOn = this.hold(() => this.untilDeadHaveNothing(go, true));
    job.whenDone = () => {
      whenDone?.();
      goOn();
    };
  }

  #installOfDead(): Job<number> | undefined {
    const current = this.#listener.copy();
    try {
      for (const [job, notification] of this.#installing) {
        this.#listener.restore(notification);
        if (!this.#listener.isValid()) return job;
      }
      return undefined;
    } finally {
      this.#listener.restore(current);
    }
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
