import { FCS, isBroadcast, isMulticast } from "./frame.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** Counters (82574 datasheet, 10.2.7; 82576 datasheet, 8.18). They stop at their largest value. */
const PRC64 = 0x405c;
const GPRC = 0x4074;
const BPRC = 0x4078;
const MPRC = 0x407c;
const GPTC = 0x4080;
const GORCL = 0x4088;
const GOTCL = 0x4090;
const RUC = 0x40a4;
const TORL = 0x40c0;
const TOTL = 0x40c8;
const TPR = 0x40d0;
const TPT = 0x40d4;
const PTC64 = 0x40d8;
const MPTC = 0x40f0;
const BPTC = 0x40f4;
const TSCTC = 0x40f8;
const FULL = 0xffff_ffff;
/** The counter by size that a frame belongs to: the last one whose least size it has, beyond those of 64 bytes. */
const SIZES = [65, 128, 256, 512, 1024];

/** What a port counts. */
export class Statistics {
  readonly #file: RegisterFile;

  constructor(file: RegisterFile) {
    this.#file = file;
  }

  /** A frame was sent. @param length without its checksum */
  sent(frame: Uint8Array, length: number): void {
    const size = length + FCS;
    this.#countSize(PTC64, size);
    this.#increment(TPT);
    this.#add(TOTL, size);
    if (isBroadcast(frame)) this.#increment(BPTC);
    else if (isMulticast(frame)) this.#increment(MPTC);
    this.#increment(GPTC);
    this.#add(GOTCL, size);
  }

  segmented(): void {
    this.#increment(TSCTC);
  }

  /** A frame is in memory. @param length without its checksum; @param total with it, where that is there too */
  received(frame: Uint8Array, length: number, total: number): void {
    this.#countSize(PRC64, total);
    this.#increment(TPR);
    this.#increment(GPRC);
    this.#add(TORL, length + FCS);
    this.#add(GORCL, length + FCS);
    if (isBroadcast(frame)) this.#increment(BPRC);
    else if (isMulticast(frame)) this.#increment(MPRC);
  }

  undersized(): void {
    this.#increment(RUC);
  }

  oversized(): void {
    this.#increment(reg.ROC);
  }

  missed(): void {
    this.#increment(reg.MPC);
  }

  interrupted(): void {
    this.#increment(reg.IAC);
  }

  #countSize(first: number, size: number): void {
    if (size < 64) return;
    this.#increment(first + 4 * SIZES.filter((least) => size >= least).length);
  }

  #increment(offset: number): void {
    const value = this.#file.get(offset);
    if (value !== FULL) this.#file.set(offset, value + 1);
  }

  /** 64 bits, the low half first. */
  #add(offset: number, count: number): void {
    const sum = this.#file.get(offset) + count;
    this.#file.set(offset, sum);
    if (sum > FULL) this.#file.set(offset + 4, this.#file.get(offset + 4) + 1);
  }
}
