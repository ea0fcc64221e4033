import type { DeviceClock, DeviceJob, DeviceTime } from "../device-clock.ts";
import type { AccessWidth } from "../device-model.ts";

/**
 * How far a function goes by itself. "quiet": it begins no DMA, and keeps interrupts and what is written to its
 * registers for later. "stopped": nothing of it changes.
 */
export type Motion = "running" | "quiet" | "stopped";

/** A write to a register that the device has not heard of yet. */
export interface PostedWrite {
  readonly region: number;
  readonly offset: number;
  readonly width: AccessWidth;
  readonly value: bigint;
}

/** More are lost: a program keeps off a device in that state (vfio.h: "the user must not touch the device"). */
export const MOST_POSTED = 1024;
/** Jobs are looked through for those that are over when there are so many. */
const MANY = 16;

/** What one function does by itself: its jobs on the host's clock, and what it puts off while it is held. */
export class Activity implements DeviceTime {
  motion: Motion = "running";
  /** In order. */
  posted: PostedWrite[] = [];
  readonly #clock: DeviceClock;
  readonly #jobs = new Set<DeviceJob>();

  constructor(clock: DeviceClock) {
    this.#clock = clock;
  }

  get inSlices(): boolean {
    return this.#clock.inSlices;
  }

  now(): number {
    return this.#clock.now();
  }

  isRunning(job: DeviceJob): boolean {
    return this.#clock.isRunning(job);
  }

  start(job: DeviceJob): void {
    this.#note(job);
    this.#clock.start(job);
  }

  resume(job: DeviceJob): void {
    this.#note(job);
    this.#clock.resume(job);
  }

  stop(job: DeviceJob): void {
    this.#jobs.delete(job);
    this.#clock.stop(job);
  }

  later(milliseconds: number, action: () => void): () => void {
    return this.#clock.later(milliseconds, action);
  }

  due(): void {
    this.#clock.due();
  }

  watchDescriptor(fd: number, action: () => void): () => void {
    return this.#clock.watchDescriptor(fd, action);
  }

  /** Does one piece of each job that runs. @returns whether there was one */
  step(): boolean {
    let stepped = false;
    for (const job of this.#jobs) {
      if (!this.#clock.isRunning(job)) {
        this.#jobs.delete(job);
        continue;
      }
      stepped = true;
      this.#clock.step(job);
    }
    return stepped;
  }

  /** Keeps a write for later; false when there are too many. */
  post(write: PostedWrite): boolean {
    if (this.posted.length === MOST_POSTED) return false;
    this.posted.push(write);
    return true;
  }

  /** The writes that were kept; there are none then. */
  takePosted(): readonly PostedWrite[] {
    const { posted } = this;
    this.posted = [];
    return posted;
  }

  #note(job: DeviceJob): void {
    if (this.#jobs.has(job)) return;
    if (this.#jobs.size >= MANY) for (const other of this.#jobs) if (!this.isRunning(other)) this.#jobs.delete(other);
    this.#jobs.add(job);
  }
}
