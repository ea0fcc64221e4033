import type { RegisterFile } from "../../gigabit/register-file.ts";
import type { Causes } from "./causes.ts";
import * as reg from "./registers.ts";

/** Bits of P2VMAILBOX and V2PMAILBOX (82576 datasheet, 8.14.3 and 8.26.14). */
const STS = 1 << 0;
const ACK = 1 << 1;
const VFU = 1 << 2;
const PFU = 1 << 3;
const RVFU = 1 << 4;
const REQ = STS;
const PFSTS = 1 << 4;
const PFACK = 1 << 5;
const RSTI = 1 << 6;
const RSTD = 1 << 7;
const ACKS_SHIFT = 16;

/** What the physical function and the virtual ones tell each other. */
export class Mailboxes {
  readonly #file: RegisterFile;
  readonly #causes: Causes;

  constructor(file: RegisterFile, causes: Causes) {
    this.#file = file;
    this.#causes = causes;
  }

  /** The physical function is being reset. */
  reset(): void {
    for (let vf = 0; vf < reg.POOLS; vf++) this.#file.setBits(reg.V2PMAILBOX + 4 * vf, RSTI);
  }

  /** Its reset is over (CTRL_EXT.PFRSTD). */
  resetDone(): void {
    for (let vf = 0; vf < reg.POOLS; vf++) {
      this.#file.clearBits(reg.V2PMAILBOX + 4 * vf, RSTI);
      this.#file.setBits(reg.V2PMAILBOX + 4 * vf, RSTD);
    }
  }

  /** The physical function writes to a mailbox's register. */
  writePhysical(vf: number, value: number): void {
    const file = this.#file;
    const [own, other] = [reg.P2VMAILBOX + 4 * vf, reg.V2PMAILBOX + 4 * vf];
    if (value & STS) file.setBits(other, PFSTS);
    if (value & ACK) file.setBits(other, PFACK);
    for (const bit of [STS, ACK]) if (value & bit) this.#interruptVirtual(vf);
    if (!(value & PFU)) this.#release(own, other, PFU);
    else if (!file.has(own, VFU)) this.#take(own, other, PFU);
    if (!(value & RVFU)) return;
    file.clearBits(other, VFU);
    file.clearBits(reg.MBVFICR, (1 << vf) | (1 << (vf + ACKS_SHIFT)));
  }

  /** A virtual one does. */
  writeVirtual(vf: number, value: number): void {
    const file = this.#file;
    const [own, other] = [reg.V2PMAILBOX + 4 * vf, reg.P2VMAILBOX + 4 * vf];
    if (value & REQ) this.#tellPhysical(1 << vf);
    if (value & ACK) this.#tellPhysical(1 << (vf + ACKS_SHIFT));
    if (!(value & VFU)) this.#release(own, other, VFU);
    else if (!file.has(own, PFU)) this.#take(own, other, VFU);
  }

  /** Reading it clears what it tells. */
  readVirtual(vf: number): number {
    const offset = reg.V2PMAILBOX + 4 * vf;
    const value = this.#file.get(offset);
    this.#file.clearBits(offset, PFSTS | PFACK | RSTD);
    return value;
  }

  /** A virtual function is reset: the physical one is told. */
  virtualReset(vf: number): void {
    for (const queue of [vf, vf + reg.POOLS])
      for (const first of [reg.RX_QUEUES, reg.TX_QUEUES])
        this.#file.clearBits(first + queue * reg.QUEUE_STRIDE + reg.DCTL, reg.DCTL_ENABLE);
    this.#file.clearBits(reg.VFRE, 1 << vf);
    this.#file.clearBits(reg.VFTE, 1 << vf);
    this.#file.setBits(reg.VFLRE, 1 << vf);
    this.#causes.raise(reg.ICR_VMMB);
  }

  #take(own: number, other: number, bit: number): void {
    this.#file.setBits(own, bit);
    this.#file.setBits(other, bit);
  }

  #release(own: number, other: number, bit: number): void {
    this.#file.clearBits(own, bit);
    this.#file.clearBits(other, bit);
  }

  #tellPhysical(bits: number): void {
    this.#file.setBits(reg.MBVFICR, bits);
    this.#causes.raise(reg.ICR_VMMB);
  }

  #interruptVirtual(vf: number): void {
    const entry = this.#file.get(reg.VTIVAR_MISC + 4 * vf);
    if (entry & reg.IVAR_VALID) this.#causes.raiseExtended(1 << (firstVector(vf) + (entry & 3)));
  }
}

/** The first EICR bit of a virtual function: they have three each, from the top down (7.3.3). */
export function firstVector(vf: number): number {
  return reg.VECTORS - reg.VF_VECTORS * (vf + 1);
}
