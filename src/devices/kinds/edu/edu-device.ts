import type { PasidRequest } from "../../../iommu/dma-target.ts";
import type { TranslationAbilities } from "../../description.ts";
import type { AccessWidth, DeviceBus } from "../../device-model.ts";
import { Interrupts } from "../../interrupts.ts";
import type { SavableModel, SavedState } from "../../saved-state.ts";
import { newRegisters, readEdu, saveEdu } from "./edu-state.ts";

const IDENTIFICATION = 0x010000edn;
const ALL_ONES = 2n ** 64n - 1n;
const ALL_ONES_32 = 0xffff_ffffn;

const LIVENESS = 0x04;
const FACTORIAL = 0x08;
const STATUS = 0x20;
const IRQ_STATUS = 0x24;
const IRQ_RAISE = 0x60;
const IRQ_ACK = 0x64;
const DMA_SOURCE = 0x80;
const DMA_DESTINATION = 0x88;
const DMA_COUNT = 0x90;
const DMA_COMMAND = 0x98;
/** Not QEMU's: only with abilities that concern translation (docs/vsva.md). */
const DMA_PASID = 0xa0;
const DMA_RESULT = 0xa8;

const PASID_MASK = 0xf_ffffn;
/** Requests carry the PASID. */
const PASID_ENABLE = 1n << 31n;
/** Requests are translated by the device itself, through its own TLB (ATS). */
const PASID_ATS = 1n << 30n;
/** Requests have supervisor privilege. */
const PASID_PRIVILEGED = 1n << 29n;
/** The last transfer did not reach all of its memory. */
const RESULT_FAULT = 1n;

const STATUS_IRQ_FACTORIAL = 0x80n;
const IRQ_FACTORIAL = 0x1n;
const IRQ_DMA = 0x100n;

const COMMAND_RUN = 0x1n;
/** Set: from the buffer to memory. Clear: from memory to the buffer. */
const COMMAND_TO_MEMORY = 0x2n;
const COMMAND_IRQ = 0x4n;
const COMMAND_BITS = 0x7n;

const BUFFER_START = 0x40000n;
const BUFFER_SIZE = 4096n;
/** Registers below take 4-byte accesses only, those from here on 4 or 8. */
const WIDE_FROM = 0x80;

/**
 * QEMU's educational device (docs/specs/edu.rst, hw/misc/edu.c): a factorial engine, an interrupt that can be raised at
 * will, and a DMA engine with a buffer of 4 KiB at 0x40000 of its own address space. Everything it is told to do is
 * done at once.
 */
export class EduDevice implements SavableModel {
  readonly #bus: DeviceBus;
  readonly #interrupts: Interrupts;
  /** Address bits that its DMA engine drives. */
  readonly #dmaMask: bigint;
  readonly #buffer = new Uint8Array(Number(BUFFER_SIZE));
  #registers = newRegisters();
  #livenessWritten = false;

  /** DMA_PASID and DMA_RESULT are there. */
  readonly #isExtended: boolean;
  readonly #canWait: boolean;
  /** Bits of DMA_PASID that it has. */
  readonly #pasidBits: bigint;
  /** The transfer that waits for a page. An answer that comes when it is another one, after a reset, is nobody's. */
  #waiting: object | undefined;
  #isPaused = false;
  #isRestored = false;

  constructor(bus: DeviceBus, dmaMask = ALL_ONES, abilities?: TranslationAbilities) {
    this.#bus = bus;
    this.#interrupts = new Interrupts(bus);
    this.#dmaMask = dmaMask;
    this.#isExtended = abilities !== undefined;
    this.#canWait = abilities?.pri ?? false;
    this.#pasidBits = abilities?.pasid
      ? PASID_MASK | PASID_ENABLE | PASID_PRIVILEGED | (abilities.ats ? PASID_ATS : 0n)
      : 0n;
  }

  read(_region: number, offset: number, width: AccessWidth): bigint {
    // narrower accesses than its registers take do not reach it (d_bar_rw: they read as 0)
    if (width < 4) return 0n;
    const nothing = width === 8 ? ALL_ONES : ALL_ONES_32;
    if (offset < WIDE_FROM && width !== 4) return nothing;
    const value = this.#valueAt(offset);
    return value === undefined ? nothing : BigInt.asUintN(width * 8, value);
  }

  write(_region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (width < 4 || (offset < WIDE_FROM && width !== 4)) return;
    // a transfer under way keeps its registers (dma_rw)
    if (offset >= DMA_SOURCE && this.#waiting) return;
    switch (offset) {
      case LIVENESS:
        this.#registers.liveness = BigInt.asUintN(32, ~value);
        this.#livenessWritten = true;
        return;
      case FACTORIAL:
        this.#compute(value);
        return;
      case STATUS:
        this.#registers.status = value & STATUS_IRQ_FACTORIAL;
        return;
      case IRQ_RAISE:
        this.#raise(value);
        return;
      case IRQ_ACK:
        this.#acknowledge(value);
        return;
      case DMA_SOURCE:
        this.#registers.source = value;
        return;
      case DMA_DESTINATION:
        this.#registers.destination = value;
        return;
      case DMA_COUNT:
        this.#registers.count = value;
        return;
      case DMA_COMMAND:
        if (value & COMMAND_RUN) this.#run(value & COMMAND_BITS);
        return;
      case DMA_PASID:
        this.#registers.pasid = value & this.#pasidBits;
        return;
    }
  }

  reset(): void {
    this.#registers = newRegisters();
    this.#interrupts.reset();
    this.#waiting = undefined;
    this.#isPaused = false;
    this.#isRestored = false;
    this.#buffer.fill(0);
  }

  save(): SavedState {
    return saveEdu(this.#registers, this.#buffer);
  }

  /** Paused from then on. */
  restore(state: SavedState): void {
    const [registers, buffer] = readEdu(state, this.#buffer.length);
    this.reset();
    this.#registers = registers;
    this.#livenessWritten = true;
    this.#buffer.set(buffer);
    this.#isPaused = true;
    this.#isRestored = true;
  }

  /** A transfer that waits for a page goes on waiting. */
  pause(): void {
    this.#isPaused = true;
  }

  /**
   * A transfer whose page came meanwhile, or which waited where the state was saved, begins again. An interrupt that is
   * not acknowledged is raised once more: nobody knows whether its message arrived.
   */
  resume(): void {
    this.#isPaused = false;
    if (this.#isRestored && this.#registers.irqStatus !== 0n) this.#interrupts.raise();
    this.#isRestored = false;
    if (this.#registers.command & COMMAND_RUN && !this.#waiting) this.#run(this.#registers.command);
  }

  memory(): undefined {
    return undefined;
  }

  registers(): readonly { offset: number; width: AccessWidth }[] {
    const narrow = [0, LIVENESS, FACTORIAL, STATUS, IRQ_STATUS, IRQ_RAISE, IRQ_ACK];
    // the PASID comes before the command: both may be written before anybody looks
    const pasid = this.#isExtended ? [DMA_PASID, DMA_RESULT] : [];
    const wide = [DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, ...pasid, DMA_COMMAND];
    return [
      ...narrow.map((offset) => ({ offset, width: 4 as const })),
      ...wide.map((offset) => ({ offset, width: 8 as const })),
    ];
  }

  adopt(_region: number, offset: number, value: bigint): boolean {
    if (offset !== LIVENESS || this.#livenessWritten) return false;
    this.#registers.liveness = BigInt.asUintN(32, value);
    return true;
  }

  #valueAt(offset: number): bigint | undefined {
    switch (offset) {
      case 0:
        return IDENTIFICATION;
      case LIVENESS:
        return this.#registers.liveness;
      case FACTORIAL:
        return this.#registers.factorial;
      case STATUS:
        return this.#registers.status;
      case IRQ_STATUS:
        return this.#registers.irqStatus;
      case DMA_SOURCE:
        return this.#registers.source;
      case DMA_DESTINATION:
        return this.#registers.destination;
      case DMA_COUNT:
        return this.#registers.count;
      case DMA_COMMAND:
        return this.#registers.command;
      case DMA_PASID:
        return this.#isExtended ? this.#registers.pasid : undefined;
      case DMA_RESULT:
        return this.#isExtended ? this.#registers.result : undefined;
    }
    return undefined;
  }

  #compute(value: bigint): void {
    let result = 1n;
    // from 34! on the low 32 bits are 0 and stay so
    for (let factor = BigInt.asUintN(32, value); factor > 0n && result !== 0n; factor--) {
      result = BigInt.asUintN(32, result * factor);
    }
    this.#registers.factorial = result;
    if (this.#registers.status & STATUS_IRQ_FACTORIAL) this.#raise(IRQ_FACTORIAL);
  }

  #raise(bits: bigint): void {
    this.#registers.irqStatus |= BigInt.asUintN(32, bits);
    if (this.#registers.irqStatus === 0n) return;
    this.#interrupts.raise();
  }

  #acknowledge(bits: bigint): void {
    this.#registers.irqStatus &= ~BigInt.asUintN(32, bits);
    if (this.#registers.irqStatus === 0n) this.#interrupts.lower();
  }

  #pasidRequest(): PasidRequest | undefined {
    if (!(this.#registers.pasid & PASID_ENABLE)) return undefined;
    const has = (bit: bigint) => (this.#registers.pasid & bit) !== 0n;
    return {
      pasid: Number(this.#registers.pasid & PASID_MASK),
      ats: has(PASID_ATS),
      privileged: has(PASID_PRIVILEGED),
    };
  }

  #run(command: bigint): void {
    // nobody sees it running, except while it waits
    this.#registers.command = command & ~COMMAND_RUN;
    const toMemory = (command & COMMAND_TO_MEMORY) !== 0n;
    const inner = toMemory ? this.#registers.source : this.#registers.destination;
    const count = this.#registers.count;
    // a transfer that leaves the buffer does not happen, but it completes
    if (inner < BUFFER_START || inner + count > BUFFER_START + BUFFER_SIZE) {
      this.#complete();
      return;
    }
    const start = Number(inner - BUFFER_START);
    this.#transfer(toMemory, this.#buffer.subarray(start, start + Number(count)));
  }

  #transfer(toMemory: boolean, part: Uint8Array): void {
    const outer = (toMemory ? this.#registers.destination : this.#registers.source) & this.#dmaMask;
    const pasid = this.#pasidRequest();
    const bus = this.#bus;
    if (!this.#canWait) {
      const arrived = toMemory ? bus.dmaWrite(outer, part, pasid) : bus.dmaRead(outer, part, pasid);
      this.#finish(arrived);
      return;
    }
    const waiting = {};
    const outcome = bus.dmaOrWait!({
      write: toMemory,
      iova: outer,
      bytes: part,
      pasid,
      answered: (granted) => {
        if (this.#waiting !== waiting) return;
        this.#waiting = undefined;
        // the command says still that it runs
        if (this.#isPaused) return;
        if (granted) this.#transfer(toMemory, part);
        else this.#finish(false);
      },
    });
    if (outcome !== "waiting") {
      this.#finish(outcome === "done");
      return;
    }
    this.#waiting = waiting;
    this.#registers.command |= COMMAND_RUN;
  }

  #finish(arrived: boolean): void {
    this.#registers.result = arrived ? 0n : RESULT_FAULT;
    this.#complete();
  }

  #complete(): void {
    const command = this.#registers.command;
    this.#registers.command = command & ~COMMAND_RUN;
    if (command & COMMAND_IRQ) this.#raise(IRQ_DMA);
  }
}
