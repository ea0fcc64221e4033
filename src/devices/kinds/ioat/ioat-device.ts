import type { DeviceJob } from "../../device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, NumberWidth } from "../../device-model.ts";
import { Interrupts } from "../../interrupts.ts";
import { getNumber, getValue } from "../../register-value.ts";
import * as reg from "./registers.ts";
import { IoatTransfer } from "./transfer.ts";

/**
 * How long a reset of the channel takes, in milliseconds. Drivers wait for it; DPDK's writes the chain's address
 * meanwhile when it takes longer than one (drivers/dma/ioat/ioat_dmadev.c), and relies on that.
 */
const RESET_MS = 2;
/** DMACOUNT and the channel's own count of descriptors done are 16 bits wide. */
const COUNT_MODULUS = 0x10000;
/** CHANSTS_STATUS as a number. */
const STATUS = Number(reg.CHANSTS_STATUS);

/**
 * A channel of Intel's DMA engine (CBDMA, "ioat") of version 3.3 with one channel: a chain of descriptors in memory,
 * each a copy, worked off as DMACOUNT allows; completion write-back, interrupts, errors that halt the channel until it
 * is reset. Layouts are those that its Linux driver uses (drivers/dma/ioat/registers.h, hw.h). A chain is a job: the
 * channel is ACTIVE while it lasts.
 */
export class IoatDevice implements DeviceModel, DeviceJob {
  readonly #bus: DeviceBus;
  readonly #interrupts: Interrupts;
  readonly #bytes = new Uint8Array(reg.REGISTERS_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #descriptor = new Uint8Array(reg.DESCRIPTOR_SIZE);
  readonly #descriptorView = new DataView(this.#descriptor.buffer);
  readonly #completion = new Uint8Array(8);
  readonly #transfer: IoatTransfer;
  /** The descriptor that is being carried out. */
  #current: bigint | undefined;
  /** The descriptor done last: the next one is behind its link, read when it is needed. */
  #last: bigint | undefined;
  /** Descriptors done since CHAINADDR was written, modulo 2^16 as DMACOUNT counts. */
  #done = 0;
  /** An interrupt disarms the channel until INT_REARM is written. */
  #armed = false;
  /** When the reset that is under way is over. */
  #resetEnd: number | undefined;
  /** Registers have changed by themselves, which advance() has not told of. */
  #hasChanged = false;
  /** A program that has the registers mapped is about to write some. */
  #isWritten = false;

  constructor(bus: DeviceBus) {
    this.#bus = bus;
    this.#interrupts = new Interrupts(bus);
    this.#transfer = new IoatTransfer(bus);
    this.reset();
  }

  read(_region: number, offset: number, width: AccessWidth): bigint {
    this.#finishReset();
    if (offset + width > this.#bytes.length) return 0n;
    return getValue(this.#view, offset, width);
  }

  write(_region: number, offset: number, width: AccessWidth, value: bigint): void {
    this.#finishReset();
    const register = reg.WRITABLE.find((each) => offset >= each.offset && offset + width <= each.offset + each.width);
    if (!register) return;
    if (register.offset === reg.CHANERR) {
      // write 1 to clear
      this.#setError(this.#error & ~Number(value & 0xffff_ffffn));
      return;
    }
    for (let i = 0; i < width; i++) this.#bytes[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    switch (register.offset) {
      case reg.CHANCTRL:
        if (value & BigInt(reg.CHANCTRL_INT_REARM)) this.#armed = true;
        break;
      case reg.CHANCMD:
        this.#command(Number(value));
        break;
      case reg.CHAINADDR:
        this.#forgetChain();
        if (this.#resetEnd === undefined && this.#error === 0) this.#setStatus(reg.ARMED, 0n);
        break;
      case reg.DMACOUNT:
        if (this.#resetEnd === undefined) this.#run();
        break;
    }
  }

  advance(): boolean {
    this.#finishReset();
    const changed = this.#hasChanged;
    this.#hasChanged = false;
    return changed;
  }

  /**
   * Also while registers are being looked at one by one, some of which are seen as they were before: advance() tells of
   * it later.
   */
  #finishReset(): void {
    if (this.#resetEnd === undefined || this.#bus.clock.now() < this.#resetEnd) return;
    this.#resetEnd = undefined;
    this.#hasChanged = true;
    this.#bytes[reg.CHANCMD] = 0;
    // a chain's address that came meanwhile counts
    if (this.#view.getBigUint64(reg.CHAINADDR, true) !== reg.NO_CHAIN) this.#setStatus(reg.ARMED, 0n);
    else this.#view.setBigUint64(reg.CHAINADDR, 0n, true);
  }

  reset(): void {
    this.#interrupts.reset();
    this.#bytes.fill(0);
    this.#bytes[reg.CHANCNT] = 1;
    this.#bytes[reg.XFERCAP] = reg.TRANSFER_CAPACITY;
    this.#bytes[reg.VER] = reg.VERSION;
    this.#view.setUint32(reg.DMACAPABILITY, reg.CAPABILITIES, true);
    this.#view.setUint16(reg.DMA_COMP, reg.DMA_COMP_V2, true);
    this.#resetEnd = undefined;
    this.#resetChannel();
  }

  memory(): undefined {
    return undefined;
  }

  registers(): readonly MappedRegister[] {
    return reg.ALL;
  }

  /** A channel that is HALTED goes to work by no other register: what a driver sets up before leaves it HALTED. */
  expectsWrite(region: number | undefined, offset?: number): void {
    if (region === undefined) this.#isWritten = false;
    else if (this.#status !== reg.HALTED || offset === reg.CHAINADDR || offset === reg.DMACOUNT) this.#isWritten = true;
  }

  /**
   * A channel that stands still is set up anew with CHAINADDR and DMACOUNT, perhaps with the values that they have: an
   * address that is none, and a count that asks for nothing. While a write is on its way the channel may be at work
   * already, for all that a driver can know: so it is ACTIVE.
   */
  shows(region: number, offset: number, width: AccessWidth): bigint {
    if (width !== 8) return BigInt(this.showsNumber(region, offset, width));
    return BigInt(this.showsNumber(region, offset, 4)) | (BigInt(this.showsNumber(region, offset + 4, 4)) << 32n);
  }

  showsNumber(_region: number, offset: number, width: NumberWidth): number {
    this.#finishReset();
    const value = getNumber(this.#view, offset, width);
    const status = this.#status;
    if (this.#isWritten && offset === reg.CHANSTS) return value - status;
    const standsStill = status !== reg.ACTIVE && status !== reg.DONE;
    if (!standsStill) return value;
    if (offset === reg.DMACOUNT) return 0;
    return offset === reg.CHAINADDR || offset === reg.CHAINADDR + 4 ? ~value >>> 0 : value;
  }

  get #status(): number {
    // it is in the low half; and asked for each register that is shown
    return this.#view.getUint32(reg.CHANSTS, true) & STATUS;
  }

  #setStatus(status: number, completed = this.#view.getBigUint64(reg.CHANSTS, true) & ~reg.CHANSTS_STATUS): void {
    this.#view.setBigUint64(reg.CHANSTS, completed | BigInt(status), true);
  }

  get #error(): number {
    return this.#view.getUint32(reg.CHANERR, true);
  }

  #setError(bits: number): void {
    this.#view.setUint32(reg.CHANERR, bits >>> 0, true);
  }

  #resetChannel(): void {
    for (const { offset, width } of reg.CHANNEL_STATE) this.#bytes.fill(0, offset, offset + width);
    this.#forgetChain();
    this.#armed = false;
    this.#setStatus(reg.HALTED, 0n);
  }

  #command(bits: number): void {
    if (bits & reg.CHANCMD_RESET) {
      this.#resetChannel();
      this.#bytes[reg.CHANCMD] = reg.CHANCMD_RESET;
      this.#view.setBigUint64(reg.CHAINADDR, reg.NO_CHAIN, true);
      this.#resetEnd = this.#bus.clock.now() + RESET_MS;
      this.#bus.clock.later(RESET_MS, () => this.#finishReset());
      return;
    }
    this.#bytes[reg.CHANCMD] = 0;
    if (bits & reg.CHANCMD_ABORT) this.#setStatus(reg.HALTED);
    else if (bits & reg.CHANCMD_SUSPEND && this.#status !== reg.HALTED) this.#setStatus(reg.SUSPENDED);
    else if (bits & (reg.CHANCMD_RESUME | reg.CHANCMD_START | reg.CHANCMD_APPEND)) this.#run();
  }

  /** Nothing of the chain so far is to be done any more. */
  #forgetChain(): void {
    this.#bus.clock.stop(this);
    this.#transfer.drop();
    this.#current = undefined;
    this.#last = undefined;
    this.#done = 0;
  }

  /**
   * Works off descriptors until as many are done as DMACOUNT says, one fails, or the channel is told to stand still.
   */
  #run(): void {
    if (this.#error !== 0 || this.#status === reg.HALTED) return;
    this.#setStatus(this.#isDone ? reg.DONE : reg.ACTIVE);
    if (!this.#isDone) this.#bus.clock.start(this);
  }

  get #isDone(): boolean {
    return this.#done === this.#view.getUint16(reg.DMACOUNT, true);
  }

  step(): number | undefined {
    this.#hasChanged = true;
    if (this.#status === reg.HALTED || this.#status === reg.SUSPENDED) return undefined;
    let error = this.#current === undefined ? this.#fetch() : 0;
    const { left } = this.#transfer;
    if (error === 0 && left > 0) error = this.#transfer.step();
    const moved = left - this.#transfer.left;
    if (error === 0 && this.#transfer.left === 0) error = this.#complete();
    if (error !== 0) this.#halt(error);
    return error !== 0 || this.#status === reg.DONE ? undefined : moved;
  }

  /** Takes the next descriptor of the chain; returns CHANERR bits, 0 when all went well. */
  #fetch(): number {
    const address = this.#nextDescriptor();
    if (address === undefined) return reg.CHANERR_NEXT_ADDR;
    if (address % BigInt(reg.DESCRIPTOR_SIZE) !== 0n) return reg.CHANERR_NEXT_ALIGN;
    if (!this.#bus.dmaRead(address, this.#descriptor)) return reg.CHANERR_NEXT_ADDR;
    const error = this.#transfer.begin(this.#descriptorView);
    if (error === 0) this.#current = address;
    return error;
  }

  /** The descriptor is carried out; returns CHANERR bits. */
  #complete(): number {
    const control = this.#descriptorView.getUint32(4, true);
    this.#last = this.#current!;
    this.#current = undefined;
    this.#done = (this.#done + 1) % COUNT_MODULUS;
    this.#setStatus(this.#isDone ? reg.DONE : reg.ACTIVE, this.#last);
    if (control & reg.CTL_COMPLETION_WRITE && !this.#writeCompletion()) return reg.CHANERR_COMPLETION_ADDR;
    if (control & reg.CTL_INTERRUPT) this.#interrupt();
    return 0;
  }

  /**
   * Address of the next descriptor: the chain's first one, or behind the link of the one done last, which may have been
   * set since.
   */
  #nextDescriptor(): bigint | undefined {
    if (this.#last === undefined) return this.#view.getBigUint64(reg.CHAINADDR, true);
    const link = new Uint8Array(8);
    return this.#bus.dmaRead(this.#last + BigInt(reg.DESCRIPTOR_NEXT), link)
      ? new DataView(link.buffer).getBigUint64(0, true)
      : undefined;
  }

  /** CHANSTS goes to the address in CHANCMP. */
  #writeCompletion(): boolean {
    this.#completion.set(this.#bytes.subarray(reg.CHANSTS, reg.CHANSTS + 8));
    return this.#bus.dmaWrite(this.#view.getBigUint64(reg.CHANCMP, true), this.#completion);
  }

  #halt(error: number): void {
    this.#setError(this.#error | error);
    this.#setStatus(reg.HALTED);
    const control = this.#view.getUint16(reg.CHANCTRL, true);
    if (control & reg.CHANCTRL_ERR_COMPLETION_EN) this.#writeCompletion();
    if (control & reg.CHANCTRL_ERR_INT_EN) this.#interrupt();
  }

  #interrupt(): void {
    const enabled = this.#bytes[reg.INTRCTRL]! & (reg.INTRCTRL_MASTER | reg.INTRCTRL_MSIX);
    if (!enabled || !this.#armed) return;
    this.#armed = false;
    const control = this.#view.getUint16(reg.CHANCTRL, true);
    this.#view.setUint16(reg.CHANCTRL, control & ~reg.CHANCTRL_INT_REARM, true);
    this.#interrupts.raise();
  }
}
