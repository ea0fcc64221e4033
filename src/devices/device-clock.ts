import type { DescriptorWatcher, DeviceWork } from "../kernel/host-kernel.ts";

/**
 * What of a job is done in the register write that starts it, in bytes: surely far less than a millisecond, and all
 * that most drivers ask for.
 */
const AT_ONCE = 256 * 1024;
/** What a piece costs beside its bytes: it reaches memory several times. */
const PIECE_COST = 8 * 1024;

/** How often descriptors are looked at that nobody waits for, in milliseconds. */
const LOOK_MS = 2;

/** Something that a device does by itself and that may take long. */
export interface DeviceJob {
  /**
   * Does the next piece, which is small against a millisecond: a descriptor, or at most some ten KiB of a copy.
   * @returns how many bytes that moved; undefined when the job is over, or stands still until it is started again
   */
  step(): number | undefined;
}

/** The time of a device, as its model has it. */
export interface DeviceTime {
  /** Jobs are done in slices, between which others have their turn. */
  readonly inSlices: boolean;
  /** Milliseconds, from any beginning. */
  now(): number;
  isRunning(job: DeviceJob): boolean;
  /** Has a job done. One that runs already just goes on. */
  start(job: DeviceJob): void;
  /** The same for a job that goes on because something is there that it waited for, outside of any call. */
  resume(job: DeviceJob): void;
  /** The device stops what it does. */
  stop(job: DeviceJob): void;
  /** Has something short done once, after so many milliseconds. @returns how to have it not done */
  later(milliseconds: number, action: () => void): () => void;
  /** Has an action called when a descriptor of a device's is readable. @returns ends that */
  watchDescriptor(fd: number, action: () => void): () => void;
}

/**
 * The time of a host's devices. A device that is told to do something starts a job: a small one is over when the
 * register write that started it is. A large one goes on in slices when a transport gives them (DeviceWork), jobs
 * taking turns piece by piece; without such a transport it is done at once too.
 */
export class DeviceClock implements DeviceWork, DeviceTime {
  inSlices = false;
  resumed?: () => void;
  #watcher: DescriptorWatcher | undefined;
  readonly #watched = new Map<number, () => void>();
  #looks: NodeJS.Timeout | undefined;
  readonly #now: () => number;
  readonly #worked: ((pieces: number) => void) | undefined;
  /** In the order of their turns. */
  readonly #jobs = new Set<DeviceJob>();

  /**
   * @param now milliseconds, from any beginning
   * @param worked hears of every slice, how many pieces it had
   */
  constructor(now: () => number = () => performance.now(), worked?: (pieces: number) => void) {
    this.#now = now;
    this.#worked = worked;
  }

  /** Milliseconds. */
  now(): number {
    return this.#now();
  }

  get isPending(): boolean {
    return this.#jobs.size > 0;
  }

  isRunning(job: DeviceJob): boolean {
    return this.#jobs.has(job);
  }

  get watcher(): DescriptorWatcher | undefined {
    return this.#watcher;
  }

  set watcher(watcher: DescriptorWatcher | undefined) {
    for (const fd of this.#watched.keys()) this.#watcher?.remove(fd);
    this.#watcher = watcher;
    for (const [fd, action] of this.#watched) watcher?.add(fd, action);
    this.#lookOrNot();
  }

  watchDescriptor(fd: number, action: () => void): () => void {
    this.#watched.set(fd, action);
    this.#watcher?.add(fd, action);
    this.#lookOrNot();
    return () => {
      if (!this.#watched.delete(fd)) return;
      this.#watcher?.remove(fd);
      this.#lookOrNot();
    };
  }

  /** Without a transport descriptors are looked at now and then, as long as this process has something else to do. */
  #lookOrNot(): void {
    const isNeeded = this.#watched.size > 0 && this.#watcher === undefined;
    if (isNeeded === (this.#looks !== undefined)) return;
    clearInterval(this.#looks);
    this.#looks = isNeeded
      ? setInterval(() => {
          for (const action of [...this.#watched.values()]) action();
        }, LOOK_MS).unref()
      : undefined;
  }

  /** Has a job done. One that runs already just goes on. */
  start(job: DeviceJob): void {
    if (this.#jobs.has(job)) return;
    this.#jobs.add(job);
    for (let cost = 0; !this.inSlices || cost < AT_ONCE; ) {
      const moved = this.#step(job);
      if (moved === undefined) return;
      cost += moved + PIECE_COST;
    }
  }

  /** The same for a job that goes on because something is there that it waited for, outside of any call. */
  resume(job: DeviceJob): void {
    this.start(job);
    this.resumed?.();
  }

  /** The device stops what it does. */
  stop(job: DeviceJob): void {
    this.#jobs.delete(job);
  }

  /** One piece of a job that runs, out of its turn. */
  step(job: DeviceJob): void {
    if (this.#jobs.has(job)) this.#step(job);
  }

  later(milliseconds: number, action: () => void): () => void {
    const timer = setTimeout(() => {
      action();
      this.resumed?.();
    }, milliseconds);
    // a program that is over does not wait for its devices
    timer.unref();
    return () => clearTimeout(timer);
  }

  run(milliseconds: number): void {
    const end = this.#now() + milliseconds;
    this.#go(() => this.#now() >= end);
  }

  /** A slice of so many pieces, when there is as much to do. */
  runPieces(count: number): void {
    if (count > 0) this.#go((pieces) => pieces === count);
  }

  #go(isOver: (pieces: number) => boolean): void {
    let pieces = 0;
    try {
      for (const job of this.#jobs) {
        pieces++;
        // the end of the line: a Set is gone through in the order in which things were put into it, those put in
        // meanwhile too
        if (this.#step(job) !== undefined) {
          this.#jobs.delete(job);
          this.#jobs.add(job);
        }
        if (isOver(pieces)) return;
      }
    } finally {
      if (pieces > 0) this.#worked?.(pieces);
    }
  }

  /** Returns undefined when the job is over, or was stopped by what it did. */
  #step(job: DeviceJob): number | undefined {
    let moved: number | undefined;
    try {
      moved = job.step();
    } finally {
      if (moved === undefined) this.#jobs.delete(job);
    }
    return this.#jobs.has(job) ? moved : undefined;
  }
}
