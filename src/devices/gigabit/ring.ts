import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** Bytes that head and tail count by. A descriptor may be several of them. */
export const UNIT = 16;

/** A ring of descriptors as its registers say where it is, and how far driver and device are. */
export class Ring {
  readonly #file: RegisterFile;
  readonly #first: number;

  /** @param first offset of its first register */
  constructor(file: RegisterFile, first: number) {
    this.#file = file;
    this.#first = first;
  }

  get(register: number): number {
    return this.#file.get(this.#first + register);
  }

  get head(): number {
    return this.get(reg.HEAD);
  }

  /** How many units it has. */
  get count(): number {
    return this.get(reg.LEN) / UNIT;
  }

  /** Whether the device may use nothing of it. */
  get isEmpty(): boolean {
    const tail = this.get(reg.TAIL);
    return this.head === tail || tail >= this.count;
  }

  /** Units that the device may use. */
  get free(): number {
    const [head, tail] = [this.head, this.get(reg.TAIL)];
    return head <= tail ? tail - head : this.count + tail - head;
  }

  /** Where the descriptor at its head is. */
  get address(): bigint {
    return ((BigInt(this.get(reg.BAH)) << 32n) | BigInt(this.get(reg.BAL))) + BigInt(UNIT * this.head);
  }

  /** The device has done with so many units. */
  advance(units = 1): void {
    const next = this.head + units;
    this.#file.set(this.#first + reg.HEAD, next >= this.count ? 0 : next);
  }
}
