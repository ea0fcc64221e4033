import { fail, PutOffError } from "../kernel/errors.ts";
import { type AsideJobs, type Job, MAX_PER_CLIENT, type Steps } from "./aside/aside-jobs.ts";

/** Nearly every call takes no look, and writes nothing aside: for those nothing is made. */
const NO_WRITES: readonly Job<boolean>[] = [];

/** How long, in milliseconds, everybody waits for a look before its call is put off. */
const PATIENCE_MS = 0.5;

/**
 * What a call learns about its caller by system calls that may not end. Such a look is made aside. When it takes long
 * the call fails for the moment (with EFAULT, from which every request leaves things as they were), is put off, and is
 * made again from its start when the look has been taken; then it finds the outcome here. So nothing is looked at
 * twice, and each time the call comes further.
 *
 * What a call writes to its caller cannot be made again so: it counts as done, and the answer waits for it.
 */
export class SlowLooks {
  readonly jobs: AsideJobs;
  #isRequired = false;
  /** Whether files that we serve ourselves may be in its memory. */
  readonly #servesFiles: () => boolean;
  #isHeldToo = false;
  readonly #notice: (message: string) => void;
  #isNoticed = false;
  /** Of the call in hand, from when it was made before. */
  #taken: Map<string, Job<unknown>> | undefined;
  #blocked: { readonly key: string; readonly job: Job<unknown> } | undefined;
  #writes: readonly Job<boolean>[] = NO_WRITES;

  /** @param notice tells a person, in one line, of a program that makes too much wait */
  constructor(jobs: AsideJobs, notice: (message: string) => void, servesFiles: () => boolean = () => false) {
    this.jobs = jobs;
    this.#servesFiles = servesFiles;
    this.#notice = notice;
  }

  /**
   * Whether a program can make its memory wait: it has a userfaultfd, has mounted a file system, or has a file open
   * that we serve ourselves. Then all looks into memory are made aside. Otherwise none is, because that takes several
   * times as long.
   */
  get required(): boolean {
    return this.#isRequired || this.#servesFiles();
  }

  /**
   * Also those into memory that is held (held-memory.ts): what lies there may be a file's, of a file system that a
   * program or we serve.
   */
  get forHeldToo(): boolean {
    return this.#isHeldToo || this.#servesFiles();
  }

  /** A program can make its memory wait from now on. @param heldToo also memory that is held */
  require(heldToo: boolean): void {
    this.#isRequired = true;
    this.#isHeldToo ||= heldToo;
  }

  /** A call begins. @param taken what it has learnt so far */
  begin(taken?: Map<string, Job<unknown>>): void {
    this.#taken = taken;
    this.#blocked = undefined;
    this.#writes = NO_WRITES;
  }

  /** What the call in hand has learnt so far. */
  get taken(): Map<string, Job<unknown>> {
    this.#taken ??= new Map();
    return this.#taken;
  }

  /** The call fails because of a look that has not been taken yet. */
  get isBlocked(): boolean {
    return this.#blocked !== undefined;
  }

  /** What has been learnt so far, and the look that the call waits for. */
  takeBlocked(): { readonly taken: Map<string, Job<unknown>>; readonly job: Job<unknown> } | undefined {
    if (this.#blocked === undefined) return undefined;
    const { key, job } = this.#blocked;
    return { taken: this.taken.set(key, job), job };
  }

  /** Writes of the call that have not been done yet. */
  takeWrites(): readonly Job<boolean>[] {
    return this.#writes;
  }

  /**
   * Takes a look aside. Throws EFAULT when it cannot be had now.
   * @param client the process that it is into
   * @param key tells the looks of a call apart
   */
  take<T>(client: number, key: string, steps: Steps<T>): T {
    const known = this.#taken?.get(key);
    if (known?.isDone) return known.value as T;
    // Nothing that follows counts: the call will be made again.
    if (this.#blocked !== undefined) return this.#wait();
    const job = this.#run(client, steps, PATIENCE_MS);
    if (job.isDone) return job.value;
    this.#blocked = { key, job };
    return this.#wait();
  }

  /** Writes aside to a process' memory. EFAULT when it is refused at once. @param steps return whether it worked */
  write(client: number, steps: Steps<boolean>): void {
    // The call will be made again.
    if (this.#blocked !== undefined) return;
    const job = this.#run(client, steps, PATIENCE_MS);
    if (!job.isDone) this.#writes = [...this.#writes, job];
    else if (!job.value) fail("EFAULT", "the program cannot write there itself");
  }

  /** Moves bytes that nobody waits for in a call (DMA). Undefined when it takes longer than `patience` milliseconds. */
  move<T>(client: number, steps: Steps<T>, patience: number): T | undefined {
    const job = this.#run(client, steps, patience);
    if (job.isDone) return job.value;
    job.drop();
    return undefined;
  }

  #wait(): never {
    throw new PutOffError("EFAULT", "the program's memory is waited for");
  }

  #run<T>(client: number, steps: Steps<T>, patience: number): Job<T> {
    const job = this.jobs.run(client, steps, patience);
    if (job !== undefined) return job;
    if (!this.#isNoticed) {
      const count = `${MAX_PER_CLIENT} calls of a process, or ${this.jobs.late} of all,`;
      this.#notice(`${count} wait for pages or files that do not come: further ones answer EFAULT (process ${client})`);
    }
    this.#isNoticed = true;
    fail("EFAULT", `too many calls wait for the memory or the files of process ${client}`);
  }
}
