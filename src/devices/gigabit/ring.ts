import type { Memory } from "./memory.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** Bytes that head and tail count by. A descriptor may be several of them. */
export const UNIT = 16;
/** Units that are read together, as far as they are in one page. */
const AHEAD = 32;
const PAGE = 4096;

/** A ring of descriptors as its registers say where it is, and how far driver and device are. */
export class Ring {
  readonly #file: RegisterFile;
  readonly #first: number;
  readonly #ahead = new Uint8Array(AHEAD * UNIT);
  /** What of it was not used: from which unit on, how many, and at which head and in which turn that is so. */
  #from = 0;
  #left = 0;
  #head = 0;
  #turn = 0;

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

  /**
   * The descriptor at its head, of so many units. Some of those behind it are read with it, and used as long as the
   * program does nothing: not beyond the turn of the thread, nor beyond a write of its to a register.
   */
  fetch(memory: Memory, units = 1): Uint8Array {
    if (this.#left < units || this.#head !== this.head || this.#turn !== this.#file.turn) this.#read(memory, units);
    return this.#ahead.subarray(UNIT * this.#from, UNIT * (this.#from + units));
  }

  #read(memory: Memory, units: number): void {
    const { head, address } = this;
    const tail = this.get(reg.TAIL);
    const inPage = (PAGE - Number(address % BigInt(PAGE))) / UNIT;
    const given = (head < tail ? tail : this.count) - head;
    const wanted = Math.max(units, Math.floor(Math.min(AHEAD, inPage, given)));
    const isThere = memory.read(address, this.#ahead.subarray(0, UNIT * wanted));
    this.#from = 0;
    this.#left = isThere ? wanted : 0;
    this.#head = head;
    this.#turn = this.#file.turn;
    queueMicrotask(() => {
      this.#left = 0;
    });
  }

  /** The device has done with so many units. */
  advance(units = 1): void {
    const next = this.head + units;
    const head = next >= this.count ? 0 : next;
    this.#file.set(this.#first + reg.HEAD, head);
    this.#from += units;
    this.#left = head === 0 ? 0 : this.#left - units;
    this.#head = head;
  }
}
