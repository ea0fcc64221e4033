import type { RegisterMap } from "./register-map.ts";

/** What the registers hold, by offset. */
export class RegisterFile {
  readonly map: RegisterMap;
  readonly values: Uint32Array;
  readonly #kept: readonly number[];
  /** Changes with each write of a program's: what was read of its memory before may be another thing now. */
  turn = 0;

  /** @param kept registers that stay when software resets the controller (CTRL.RST) */
  constructor(map: RegisterMap, kept: readonly number[] = []) {
    this.map = map;
    this.values = map.resetValues();
    this.#kept = kept;
  }

  get(offset: number): number {
    return this.values[offset >>> 2]!;
  }

  set(offset: number, value: number): void {
    this.values[offset >>> 2] = value;
  }

  setBits(offset: number, bits: number): void {
    this.values[offset >>> 2]! |= bits;
  }

  clearBits(offset: number, bits: number): void {
    this.values[offset >>> 2]! &= ~bits;
  }

  has(offset: number, bits: number): boolean {
    return (this.values[offset >>> 2]! & bits) !== 0;
  }

  /** Bytes of registers as they lie in memory, for tables of bytes: a key, a redirection table. */
  bytes(offset: number, length: number): Uint8Array {
    return new Uint8Array(this.values.buffer, offset, length);
  }

  /** Everything as after power-on. @param bySoftware CTRL.RST: some stay */
  reset(bySoftware: boolean): void {
    const before = this.#kept.map((offset) => this.get(offset));
    this.values.set(this.map.resetValues());
    if (bySoftware) for (const [i, offset] of this.#kept.entries()) this.set(offset, before[i]!);
  }
}
