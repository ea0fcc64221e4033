import { resetValues } from "./register-map.ts";
import { EITR, REGISTERS_SIZE, RXPBS, TXPBS, VECTORS } from "./registers.ts";

/** What the registers hold, by offset. */
export class RegisterFile {
  readonly values = resetValues();

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

  /** Everything as after power-on. @param bySoftware CTRL.RST: buffer sizes and throttling stay (8.2.1) */
  reset(bySoftware: boolean): void {
    const { values } = this;
    const kept = [RXPBS, TXPBS, ...Array.from({ length: VECTORS }, (_, vector) => EITR + 4 * vector)];
    const before = kept.map((offset) => this.get(offset));
    values.set(resetValues().subarray(0, REGISTERS_SIZE / 4));
    if (bySoftware) for (const [i, offset] of kept.entries()) this.set(offset, before[i]!);
  }
}
