import type { DeviceBus } from "../../device-model.ts";
import * as reg from "./registers.ts";
import { stagingBuffer } from "./staging-buffer.ts";

/** The largest transfer of one descriptor. */
const TRANSFER_MAX = 2 ** reg.TRANSFER_CAPACITY;
/**
 * Bytes that are moved together: a multiple of the pattern, small enough for a processor's cache and for one piece of a
 * job.
 */
export const PIECE = 256 * 1024;

/** What one descriptor moves, piece by piece. */
export class IoatTransfer {
  readonly #bus: DeviceBus;
  #buffer: Uint8Array | undefined;
  /** Undefined for a fill: the bytes are there already. */
  #source: bigint | undefined;
  #destination = 0n;
  #size = 0;
  #done = 0;
  /** From the end, because the destination begins inside the source. */
  #isBackward = false;

  constructor(bus: DeviceBus) {
    this.#bus = bus;
  }

  /** Of a device that has moved something: a host may have thousands that never do. */
  get #data(): Uint8Array {
    this.#buffer ??= stagingBuffer(PIECE);
    return this.#buffer;
  }

  /** Bytes that are not moved yet. */
  get left(): number {
    return this.#size - this.#done;
  }

  /**
   * Takes over a descriptor.
   * @returns CHANERR bits, 0 when it can be carried out
   */
  begin(descriptor: DataView): number {
    this.drop();
    const size = descriptor.getUint32(0, true);
    const control = descriptor.getUint32(4, true);
    if (control & reg.CTL_NULL) return 0;
    if (size > TRANSFER_MAX) return reg.CHANERR_LENGTH;
    const source = descriptor.getBigUint64(8, true);
    const destination = descriptor.getBigUint64(16, true);
    const operation = control >>> 24;
    if (operation === reg.OP_COPY) {
      this.#source = source;
    } else if (operation === reg.OP_FILL) {
      // the source field is the pattern
      this.#source = undefined;
      for (let i = 0; i < Math.min(size, PIECE); i++) this.#data[i] = descriptor.getUint8(8 + (i % 8));
    } else {
      return reg.CHANERR_CONTROL;
    }
    this.#destination = destination;
    this.#size = size;
    this.#isBackward = destination > source && destination < source + BigInt(size);
    return 0;
  }

  /** Forgets what is left of it. */
  drop(): void {
    this.#size = 0;
    this.#done = 0;
  }

  /** Moves the next piece; returns CHANERR bits, 0 when it arrived. */
  step(): number {
    const { left } = this;
    const count = Math.min(PIECE, left);
    const at = BigInt(this.#isBackward ? left - count : this.#done);
    const data = count === PIECE ? this.#data : this.#data.subarray(0, count);
    if (this.#source !== undefined && !this.#bus.dmaRead(this.#source + at, data)) return reg.CHANERR_READ_DATA;
    if (!this.#bus.dmaWrite(this.#destination + at, data)) return reg.CHANERR_WRITE_DATA;
    this.#done += count;
    return 0;
  }
}
