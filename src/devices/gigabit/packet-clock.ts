import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** It counts by TIMINCA: so much for so many periods of 16 ns (82574 datasheet, 10.2.10; 82576 datasheet, 8.16.2). */
const INCREMENT = 0xff_ffff;
const PERIOD_SHIFT = 24;
const PERIOD_NS = 16;

/** The clock that packets are stamped by. */
export class PacketClock {
  readonly #file: RegisterFile;
  readonly #now: () => number;

  /** @param now milliseconds */
  constructor(file: RegisterFile, now: () => number) {
    this.#file = file;
    this.#now = now;
  }

  /** Shows the time in two registers, the low one first. */
  latch(low: number): void {
    const increments = this.#file.get(reg.TIMINCA);
    const period = Math.max(increments >>> PERIOD_SHIFT, 1) * PERIOD_NS;
    const periods = BigInt(Math.floor((this.#now() * 1e6) / period));
    const time = periods * BigInt(increments & INCREMENT);
    this.#file.set(low, Number(BigInt.asUintN(32, time)));
    this.#file.set(low + 4, Number(BigInt.asUintN(32, time >> 32n)));
  }
}
