import { Arena } from "../../native/arena.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall, syscall3 } from "../libc.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../linux.ts";
import { AsideThread } from "./aside-thread.ts";

/** Where a job's calls may read and write: its thread's room. */
export interface Room {
  readonly address: number;
  readonly bytes: Buffer;
}

/** A system call to be made aside: its number and arguments. */
export type CallAside = readonly [number: number, ...args: number[]];

/** System calls to be made aside one after the other; each yields what it returned (a value or a negative errno). */
export type Steps<T> = (room: Room) => Generator<CallAside, T, number>;

/** Threads at most. Each may hang in a call until its client ends. */
const MAX_THREADS = 256;
/** Of these, for the same client. */
export const MAX_PER_CLIENT = 32;

/** Calls that are made aside, and what comes of them. */
export class Job<T> {
  readonly client: number;
  readonly thread: AsideThread;
  readonly #steps: Generator<CallAside, T, number>;
  #value: T | undefined;
  #error: unknown;
  isDone = false;
  #isDropped = false;
  /** Called when a job that was late is done. */
  whenDone: (() => void) | undefined;

  constructor(client: number, thread: AsideThread, steps: Steps<T>) {
    this.client = client;
    this.thread = thread;
    this.#steps = steps({ address: thread.room, bytes: thread.bytes });
    this.#advance(() => this.#steps.next());
  }

  /** What the steps returned, or throws what they threw. */
  get value(): T {
    if (this.#error !== undefined) throw this.#error;
    return this.#value as T;
  }

  /** Nobody wants it any more: no step is taken after the call in hand. */
  drop(): void {
    this.#isDropped = true;
    this.whenDone = undefined;
  }

  /** Waits at most until `deadline` (performance.now()). Returns whether it is done. */
  wait(deadline: number): boolean {
    while (!this.isDone && this.thread.wait(Math.max(0, (deadline - performance.now()) * 1000))) this.proceed();
    return this.isDone;
  }

  /** The call in hand has ended: on to the next. */
  proceed(): void {
    const { result } = this.thread;
    this.#advance(() => (this.#isDropped ? this.#steps.return(undefined as T) : this.#steps.next(result)));
  }

  #advance(next: () => IteratorResult<CallAside, T>): void {
    try {
      const step = next();
      if (step.done) this.#value = step.value;
      else {
        const [number, ...args] = step.value;
        this.thread.request(number, args);
        return;
      }
    } catch (error) {
      this.#error = error;
    }
    this.isDone = true;
  }
}

/**
 * System calls that may wait for somebody who does not come, made by threads of their own: for a page that a client
 * serves itself (userfaultfd), for a file system that is served by a program (FUSE). Threads are started when they are
 * needed.
 */
export class AsideJobs {
  /** Readable when a late job goes on. */
  readonly event = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  /** Jobs that were not done when who wanted them stopped waiting. */
  readonly #late = new Set<Job<unknown>>();
  readonly #counter = new Arena(8);

  /** Jobs that are not done. */
  get late(): number {
    return this.#late.size;
  }

  /**
   * Begins a job and waits for it, at most `patience` milliseconds.
   * @param client the process that it is for
   * @returns the job, which may not be done; undefined when there are no more threads, or the client has too many
   */
  run<T>(client: number, steps: Steps<T>, patience: number): Job<T> | undefined {
    if (!this.#mayRun(client)) return undefined;
    const thread = AsideThread.take(this.event);
    if (thread === undefined) return undefined;
    const job = new Job(client, thread, steps);
    if (job.wait(performance.now() + patience)) thread.giveBack();
    else this.#late.add(job);
    return job;
  }

  /** Goes on with late jobs whose call has ended. */
  hear(): void {
    syscall3(HOST_CALLS.read, this.event, this.#counter.address, 8);
    for (const job of this.#late) {
      if (!job.thread.hasFinished) continue;
      job.proceed();
      // A step that does not wait is done at once.
      if (!job.wait(0)) continue;
      this.#late.delete(job);
      job.thread.giveBack();
      job.whenDone?.();
    }
  }

  close(): void {
    // A thread that hangs writes to it, if it ever comes to that.
    if (this.#late.size === 0) close(this.event);
  }

  #mayRun(client: number): boolean {
    if (this.#late.size === 0) return true;
    let mine = 0;
    for (const job of this.#late) if (job.client === client) mine++;
    return mine < MAX_PER_CLIENT && this.#late.size < MAX_THREADS;
  }
}
