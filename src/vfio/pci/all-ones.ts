import type { DeviceJob } from "../../devices/device-clock.ts";
import type { SharedMemory } from "../../kernel/file-description.ts";
import type { OpenDevice } from "./open-device.ts";
import { regionOffset } from "./region.ts";

/** Bytes that are written together. */
const PIECE = 65536;
/** A region of so many bytes is covered in any case, as a program may map it later. */
const SMALL = 2 ** 20;
/** Of a larger one, where it is mapped, so many: what is covered takes room. */
const MOST = 2 ** 28;

/**
 * What programs find in mapped regions while nobody answers: all ones, as the bus gives them. Large regions take a
 * while, in pieces.
 */
export class AllOnes implements DeviceJob {
  readonly #device: OpenDevice;
  readonly #memory: SharedMemory;
  readonly #regions: readonly number[];
  readonly #uncovered: () => void;
  #isOn = false;
  #left: { readonly region: number; at: number; readonly end: number }[] = [];
  readonly #piece = Buffer.alloc(PIECE);

  /** @param uncovered plain memory is there again, and zeros where registers are */
  constructor(device: OpenDevice, memory: SharedMemory, regions: readonly number[], uncovered: () => void) {
    this.#device = device;
    this.#memory = memory;
    this.#regions = regions;
    this.#uncovered = uncovered;
  }

  /** Whether ones are there, somewhere. */
  get isThere(): boolean {
    return this.#isOn || this.#left.length > 0;
  }

  /** Covers the regions, or has the device show there again. */
  set(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    this.#left = this.#regions.map((region) => ({ region, at: 0, end: this.#covered(region) }));
    this.#device.target.clock.start(this);
  }

  step(): number | undefined {
    const next = this.#left[0];
    if (next === undefined) return undefined;
    const piece = this.#piece.subarray(0, Math.min(PIECE, next.end - next.at));
    const memory = this.#device.target.model.memory(next.region);
    if (this.#isOn || memory === undefined) piece.fill(this.#isOn ? 0xff : 0);
    else memory.readBytes(next.at, piece);
    this.#memory.write(regionOffset(next.region) + next.at, piece);
    next.at += piece.length;
    if (next.at >= next.end) this.#left.shift();
    if (!this.isThere) this.#uncovered();
    return piece.length;
  }

  #covered(region: number): number {
    const { size } = this.#device.target.bar(region)!;
    if (size <= SMALL || this.#memory.isMapped?.(regionOffset(region), size) !== false) return Math.min(size, MOST);
    return SMALL;
  }
}
