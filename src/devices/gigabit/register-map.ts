/** From where on, how many of 32 bits. */
export type Run = readonly [offset: number, count?: number];

const READS = 1;
const CLEARS = 2;
/** The high half of a counter of 64 bits: a read clears both. */
const CLEARS_BOTH = 4;

/** Registers of 32 bits, by what software may do with them. What has effects beyond that is elsewhere. */
export interface Registers {
  /** What was written is read. */
  readonly plain: readonly Run[];
  /** A write changes some bits. */
  readonly masked: readonly (readonly [...run: Run, mask: number])[];
  /** Software only reads them, or they have a rule of their own. */
  readonly readOnly: readonly Run[];
  readonly clearedByRead: readonly Run[];
  /** A read clears the register before as well. */
  readonly clearedWithLowHalf: readonly Run[];
}

/** Which registers a controller has, what of them a write changes, and what they are after reset. */
export class RegisterMap {
  /** Bytes, a power of two. */
  readonly size: number;
  readonly #access: Uint8Array;
  readonly #masks: Uint32Array;
  readonly #initial: Uint32Array;
  readonly #places: Uint32Array;

  constructor(size: number, registers: Registers) {
    const count = size / 4;
    this.size = size;
    this.#access = new Uint8Array(count);
    this.#masks = new Uint32Array(count);
    this.#initial = new Uint32Array(count);
    this.#places = Uint32Array.from({ length: count }, (_, index) => 4 * index);
    for (const [offset, count = 1] of registers.plain) this.#define(offset, count, READS, 0xffff_ffff);
    for (const [offset, count = 1, mask] of registers.masked) this.#define(offset, count, READS, mask);
    for (const [offset, count = 1] of registers.readOnly) this.#define(offset, count, READS, 0);
    for (const [offset, count = 1] of registers.clearedByRead) this.#define(offset, count, READS | CLEARS, 0);
    for (const [offset, count = 1] of registers.clearedWithLowHalf) this.#define(offset, count, READS | CLEARS_BOTH, 0);
  }

  #define(offset: number, count: number, flags: number, mask: number): void {
    this.#access.fill(flags, offset / 4, offset / 4 + count);
    this.#masks.fill(mask, offset / 4, offset / 4 + count);
  }

  /** Adds one that is read, and of which a write changes these bits. */
  add(offset: number, mask: number): void {
    this.#define(offset, 1, READS, mask);
  }

  /** Adds one that a read clears. */
  addCleared(offset: number, mask = 0): void {
    this.#define(offset, 1, READS | CLEARS, mask);
  }

  /** Adds one that is written only. */
  addWrittenOnly(offset: number): void {
    this.#masks[offset / 4] = 0xffff_ffff;
  }

  /** What a register is after a reset, where that is not 0. */
  preset(offset: number, value: number): void {
    this.#initial[offset / 4] = value;
  }

  /** The registers from `first` to `last` are also those from `to` on. */
  alias(first: number, last: number, to: number): void {
    for (let offset = first; offset <= last; offset += 4) this.#places[offset / 4] = offset - first + to;
  }

  /** What all registers are after a reset. */
  resetValues(): Uint32Array {
    return this.#initial.slice();
  }

  /** The offset of the register that answers there. */
  canonical(offset: number): number {
    return this.#places[(offset & (this.size - 1)) >>> 2]!;
  }

  isReadable(offset: number): boolean {
    return this.#access[offset >>> 2] !== 0;
  }

  /** Of how many registers up to this one a read makes zeros: 2 for a counter of 64 bits, read in its high half. */
  clearedByRead(offset: number): 0 | 1 | 2 {
    const flags = this.#access[offset >>> 2]!;
    if (flags & CLEARS_BOTH) return 2;
    return flags & CLEARS ? 1 : 0;
  }

  /** The bits that a plain write changes; a register that they are none of is read-only, or not there. */
  writeMask(offset: number): number {
    return this.#masks[offset >>> 2]!;
  }
}
