import type { DeviceTime } from "../../device-clock.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Throttle } from "../../gigabit/throttle.ts";
import * as reg from "./registers.ts";

/** Where interrupts go. */
export interface CauseOutputs {
  readonly usesMsix: boolean;
  /** Nobody sees whether a program has read a register: it may have cleared what it knows of. */
  readonly isMapped: boolean;
  /** The message of an EICR bit in MSI-X mode: the physical function's, or one of a virtual function's. */
  send(cause: number): void;
  /** Outside of it: the one message that there is, or the line. */
  signal(): void;
  lowerLine(): void;
}

/** EICR's bits: one for each vector, or for timer and others (8.8.1). */
const MSIX_CAUSES = (1 << reg.VECTORS) - 1;
const LEGACY_CAUSES = 0x4000_ffff;
/** Bits 14:2 of EITR are in units of one microsecond; what counts here is the register as it lies. */
const EITR_INTERVAL = 0x7ffe;
const EITR_KEPT = 0x7fff_ffff;

/**
 * Interrupt causes and their masks (82576 datasheet, 7.3 and 8.8): ICR and IMS, in MSI-X mode behind them EICR and
 * EIMS, and the vectors' throttling.
 */
export class Causes {
  readonly #file: RegisterFile;
  readonly #outputs: CauseOutputs;
  /** What is read of EITR: it is as written, over every reset. */
  readonly throttles = new Uint32Array(reg.VECTORS);
  readonly #throttle: Throttle;

  constructor(file: RegisterFile, clock: DeviceTime, outputs: CauseOutputs) {
    this.#file = file;
    this.#outputs = outputs;
    this.#throttle = new Throttle(clock, {
      vectors: reg.VECTORS,
      interval: (vector) => file.get(reg.EITR + 4 * vector),
      send: (vector) => this.#send(vector),
      isWanted: () => true,
    });
  }

  get #usesMsix(): boolean {
    return this.#file.has(reg.GPIE, reg.GPIE_MSIX);
  }

  get #causes(): number {
    return this.#usesMsix ? MSIX_CAUSES : LEGACY_CAUSES;
  }

  /** No message waits any more. */
  reset(): void {
    this.#throttle.reset();
  }

  /** Has something happen that ICR shows. */
  raise(causes: number): void {
    this.#raise(reg.ICR, causes);
  }

  /** The same for causes of EICR. */
  raiseExtended(causes: number): void {
    if (causes !== 0) this.#raise(reg.EICR, causes);
  }

  setEics(value: number): void {
    this.#raise(reg.EICR, value & this.#causes);
  }

  setEims(value: number): void {
    this.#raise(reg.EIMS, value & this.#causes);
  }

  setEimc(value: number): void {
    this.#lower(reg.EIMS, value & this.#causes);
  }

  setEicr(value: number): void {
    this.#lower(reg.EICR, value & this.#causes);
  }

  /** Only vectors that there are; bits stay set. */
  setEiac(value: number): void {
    if (this.#usesMsix) this.#file.setBits(reg.EIAC, value & MSIX_CAUSES);
  }

  /** What is written are the bits that are not masked automatically; recorded so (igb_reg_masks_0). */
  setEiam(value: number): void {
    this.#file.setBits(reg.EIAM, ~(value & this.#causes));
  }

  setIms(value: number): void {
    this.#raise(reg.IMS, value & reg.IMS_WRITABLE);
  }

  setImc(value: number): void {
    this.#lower(reg.IMS, value);
  }

  setIcr(value: number): void {
    this.#maskAutomatically();
    this.#lower(reg.ICR, value);
  }

  /** A read of ICR clears it, unless MSI-X messages may be lost by that (8.8.9). */
  readIcr(): number {
    const value = this.#file.get(reg.ICR);
    const clears =
      this.#file.has(reg.GPIE, reg.GPIE_NSICR) ||
      this.#file.get(reg.IMS) === 0 ||
      (value & reg.ICR_ASSERTED) !== 0 ||
      !this.#outputs.usesMsix;
    if (clears) this.#lower(reg.ICR, 0xffff_ffff);
    this.#maskAutomatically();
    return value;
  }

  readEitr(vector: number): number {
    return this.throttles[vector]!;
  }

  setEitr(vector: number, value: number): void {
    this.throttles[vector] = value & EITR_KEPT;
    this.#file.set(reg.EITR + 4 * vector, value & EITR_INTERVAL);
  }

  /** The vector that an entry of IVAR names, as a bit of EICR; 0 for none. */
  static bitOf(entry: number): number {
    return entry & reg.IVAR_VALID ? 1 << (entry & 0x1f) : 0;
  }

  /** IAM is taken out of IMS when ICR is read or written (8.8.13). */
  #maskAutomatically(): void {
    const isInterrupt = this.#file.get(reg.IMS) !== 0 && this.#file.has(reg.ICR, reg.ICR_ASSERTED);
    if (this.#file.has(reg.GPIE, reg.GPIE_NSICR) || isInterrupt) this.#lower(reg.IMS, this.#file.get(reg.IAM));
  }

  #raise(register: number, bits: number): void {
    const file = this.#file;
    const [causes, extended] = [this.#pending(), this.#pendingExtended()];
    file.setBits(register, bits);
    const isAgain = this.#outputs.isMapped ? bits : 0;
    const [againCause, againExtended] = [register === reg.ICR ? isAgain : 0, register === reg.EICR ? isAgain : 0];
    if (this.#usesMsix) {
      const raised = this.#pending() & (~causes | againCause);
      const other = file.get(reg.IVAR_MISC);
      if (raised & reg.ICR_DRSTA) file.setBits(reg.EICR, Causes.bitOf(other & 0xff));
      if (raised & ~reg.ICR_DRSTA) file.setBits(reg.EICR, Causes.bitOf((other >>> 8) & 0xff));
      this.#sendAll(this.#pendingExtended() & (~extended | againExtended));
      return;
    }
    this.#showAsserted();
    const raised = this.#pending() & (~causes | againCause);
    if (raised === 0) return;
    file.setBits(reg.EICR, (raised & reg.ICR_DRSTA) | reg.EICR_OTHER);
    this.#outputs.signal();
  }

  #lower(register: number, bits: number): void {
    const file = this.#file;
    file.clearBits(register, bits);
    if (this.#pending() !== 0 || this.#usesMsix) return;
    file.clearBits(reg.EICR, reg.EICR_OTHER);
    this.#outputs.lowerLine();
  }

  #pending(): number {
    return this.#file.get(reg.ICR) & this.#file.get(reg.IMS);
  }

  #pendingExtended(): number {
    return this.#file.get(reg.EICR) & this.#file.get(reg.EIMS);
  }

  #showAsserted(): void {
    const file = this.#file;
    file.clearBits(reg.ICR, reg.ICR_ASSERTED);
    if (file.get(reg.ICR) !== 0) file.setBits(reg.ICR, reg.ICR_ASSERTED);
  }

  #sendAll(bits: number): void {
    for (let vector = 0; vector < reg.VECTORS; vector++) if (bits & (1 << vector)) this.#throttle.send(vector);
  }

  /** EIAC: sending clears the cause. */
  #send(vector: number): void {
    this.#outputs.send(vector);
    this.#file.clearBits(reg.EICR, this.#file.get(reg.EIAC) & (1 << vector));
  }

  /** Whether the line is up, where there is one. */
  get isSignalled(): boolean {
    return !this.#usesMsix && this.#pending() !== 0;
  }

  /** Throttle.timing */
  get timing(): readonly [quiet: number, postponed: number] {
    return this.#throttle.timing;
  }

  /** Throttle.restore() */
  restoreTiming(quiet: number, postponed: number): void {
    this.#throttle.restore(quiet, postponed);
  }
}
