import type { DescriptorWatcher, DeviceWork } from "../kernel/host-kernel.ts";
import { monotonic } from "../kernel/monotonic.ts";

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

/** Something that happens later. */
interface Moment {
  /** As now() has it. */
  readonly at: number;
  readonly action: () => void;
}

/** The time of a device, as its model has it. */
export interface DeviceTime {
  /** Jobs are done in slices, between which others have their turn. */
  readonly inSlices: boolean;
  /** Milliseconds, from any beginning. */
  now(): number;
  /** Whether a job was started and is not over. */
  isRunning(job: DeviceJob): boolean;
  /** Has a job done. One that runs already just goes on. */
  start(job: DeviceJob): void;
  /** The same for a job that goes on because something is there that it waited for, outside of any call. */
  resume(job: DeviceJob): void;
  /** The device stops what it does. */
  stop(job: DeviceJob): void;
  /** Has something short done once, after so many milliseconds. @returns how to have it not done */
  later(milliseconds: number, action: () => void): () => void;
  /** Does what it is time for: a model with such things calls it in every access. */
  due(): void;
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
  /** What happens later, the earliest first. */
  readonly #moments: Moment[] = [];
  /** Whether time goes on by itself. */
  readonly #runs: boolean;
  /** Milliseconds that were passed by pass(). */
  #passed = 0;
  #alarm: NodeJS.Timeout | undefined;

  /**
   * @param now milliseconds, from any beginning; the machine's own clock when left out
   * @param worked hears of every slice, how many pieces it had
   */
  constructor(now?: () => number, worked?: (pieces: number) => void) {
    this.#runs = now === undefined;
    this.#now = now ?? monotonic;
    this.#worked = worked;
  }

  /** Milliseconds. */
  now(): number {
    return this.#now() + this.#passed;
  }

  /**
   * Has something done when that time is over. A model that does so calls due() in every access, for programs that keep
   * the event loop from its turn.
   */
  later(milliseconds: number, action: () => void): () => void {
    const moment = { at: this.now() + milliseconds, action };
    const next = this.#moments.findIndex(({ at }) => at > moment.at);
    this.#moments.splice(next < 0 ? this.#moments.length : next, 0, moment);
    this.#setAlarm();
    return () => {
      const index = this.#moments.indexOf(moment);
      if (index < 0) return;
      this.#moments.splice(index, 1);
      this.#setAlarm();
    };
  }

  /** Does what it is time for. */
  due(): void {
    if (this.#moments.length === 0) return;
    for (const now = this.now(); this.#moments.length > 0 && this.#moments[0]!.at <= now; )
      this.#moments.shift()!.action();
  }

  /** So much time is over, for who does not wait for it: what was to happen in it happens. */
  pass(milliseconds: number): void {
    const end = this.now() + milliseconds;
    while (this.#moments.length > 0 && this.#moments[0]!.at <= end) {
      this.#passed += Math.max(0, this.#moments[0]!.at - this.now());
      this.due();
    }
    this.#passed += Math.max(0, end - this.now());
  }

  #setAlarm(): void {
    if (!this.#runs) return;
    clearTimeout(this.#alarm);
    const [first] = this.#moments;
    if (!first) return;
    // nobody is kept from ending by it
    this.#alarm = setTimeout(() => this.#ring(), Math.max(0, first.at - this.now())).unref();
  }

  #ring(): void {
    this.due();
    this.#setAlarm();
    this.resumed?.();
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
