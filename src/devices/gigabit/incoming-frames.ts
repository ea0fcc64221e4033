import type { DeviceJob, DeviceTime } from "../device-clock.ts";

/** The receiving side of a controller. */
export interface FrameReceiver {
  readonly hasLink: boolean;
  /** Whether anything is received at all. */
  readonly isOn: boolean;
  /** Whether there is a descriptor for a frame. */
  readonly hasRoom: boolean;
  receive(frame: Uint8Array): void;
}

/** What waits for descriptors: frames, and their bytes. A wire that brings more loses it. */
const MOST_FRAMES = 10_000;
const MOST_BYTES = 4 << 20;

/**
 * Frames from outside. They wait for a driver that gives descriptors late, as they would in the packet buffer and, held
 * back by flow control, in the other side's.
 */
export class IncomingFrames implements DeviceJob {
  readonly #clock: DeviceTime;
  readonly #receiver: FrameReceiver;
  readonly #missed: () => void;
  #waiting: Uint8Array[] = [];
  #next = 0;
  #bytes = 0;
  /** Whatever comes waits. */
  isHeld = false;

  /** @param missed hears of each frame that is lost because too many wait */
  constructor(clock: DeviceTime, receiver: FrameReceiver, missed: () => void) {
    this.#clock = clock;
    this.#receiver = receiver;
    this.#missed = missed;
  }

  take(frame: Uint8Array): void {
    if (!this.#receiver.hasLink) return;
    const isNext = this.#next === this.#waiting.length && !this.isHeld;
    if (isNext && this.#receiver.isOn && this.#receiver.hasRoom) {
      this.#receiver.receive(frame);
      return;
    }
    if (this.#waiting.length - this.#next >= MOST_FRAMES || this.#bytes + frame.length > MOST_BYTES) {
      this.#missed();
      return;
    }
    this.#waiting.push(frame);
    this.#bytes += frame.length;
  }

  /** Takes frames that are in memory anyway, however many. */
  hold(frames: readonly Uint8Array[]): void {
    for (const frame of frames) {
      this.#waiting.push(frame);
      this.#bytes += frame.length;
    }
  }

  /** There may be descriptors now. */
  resume(): void {
    if (this.#next < this.#waiting.length && !this.isHeld) this.#clock.start(this);
  }

  step(): number | undefined {
    const frame = this.#waiting[this.#next];
    if (!frame || this.isHeld || !this.#receiver.isOn || !this.#receiver.hasRoom) return undefined;
    this.#next++;
    this.#bytes -= frame.length;
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    }
    this.#receiver.receive(frame);
    return frame.length;
  }

  reset(): void {
    this.#clock.stop(this);
    this.#waiting = [];
    this.#next = 0;
    this.#bytes = 0;
  }
}
