import type { DeviceTime } from "../../device-clock.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Throttle } from "../../gigabit/throttle.ts";
import * as reg from "./registers.ts";

/** Where interrupts go. */
export interface CauseOutputs {
  readonly usesMsix: boolean;
  /** MSI or MSI-X; otherwise there is a line. */
  readonly messagesEnabled: boolean;
  /** Nobody sees whether a program has read a register: it may have cleared what it knows of. */
  readonly isMapped: boolean;
  /** Sends the message of a vector in MSI-X mode. */
  send(vector: number): void;
  /** Outside of it: the one message that there is, or the line. */
  signal(): void;
  lowerLine(): void;
  dropPending(vector: number): void;
}

/** Causes that the vector of the others has in MSI-X mode. */
const OTHERS = reg.ICR_LSC | reg.ICR_RXO | reg.ICR_MDAC | reg.ICR_SRPD | reg.ICR_ACK | reg.ICR_MNG;
/** The causes of MSI-X, and where their entries are in IVAR. */
const ENTRIES = [
  [reg.ICR_RXQ0, 0],
  [reg.ICR_RXQ1, 4],
  [reg.ICR_TXQ0, 8],
  [reg.ICR_TXQ1, 12],
  [reg.ICR_OTHER, 16],
] as const;
const SENDING = reg.ICR_TXQ0 | reg.ICR_TXQ1 | reg.ICR_TXQE | reg.ICR_TXDW;
const RECEIVING = reg.ICR_RXQ0 | reg.ICR_RXQ1 | reg.ICR_RXT0;
/** Unit of the delays. */
const DELAY_MS = 1024 / 1e6;
const DELAYS = [reg.RDTR, reg.RADV, reg.RAID, reg.TIDV, reg.TADV];
/** Throttled like a vector: the one message, or the line. */
const ALL = reg.VECTORS;

/** What of the causes is not in registers. Plain data: it is saved. */
export interface CauseState {
  /** Causes that wait for a delay to be over. */
  readonly delayed: number;
  /** Which delays run, as bits in the order of DELAYS. */
  readonly delays: number;
  /** Causes that messages have told of. */
  readonly told: number;
  /** Vectors that have sent a message and send no other for some time, as bits; the last one is ALL. */
  readonly quiet: number;
  /** Those of them that have one to send then. */
  readonly postponed: number;
}

/** Interrupt causes, their masks, delays and throttling (82574 datasheet, 7.4 and 10.2.4). */
export class Causes {
  readonly #file: RegisterFile;
  readonly #clock: DeviceTime;
  readonly #outputs: CauseOutputs;
  #delayed = 0;
  #told = 0;
  readonly #delays = new Map<number, () => void>();
  readonly #throttle: Throttle;

  constructor(file: RegisterFile, clock: DeviceTime, outputs: CauseOutputs) {
    this.#file = file;
    this.#clock = clock;
    this.#outputs = outputs;
    this.#throttle = new Throttle(clock, {
      vectors: ALL + 1,
      interval: (vector) => file.get(vector === ALL ? reg.ITR : reg.EITR + 4 * vector),
      send: (vector) => (vector === ALL ? outputs.signal() : outputs.send(vector)),
      isWanted: (vector) => vector !== ALL || this.#pending !== 0,
    });
  }

  reset(): void {
    this.#takeDelayed();
    this.#throttle.reset();
    this.#told = 0;
  }

  /** Has something happen that ICR shows, and with it all that was delayed. */
  raise(causes: number): void {
    const happened = causes | this.#takeDelayed();
    const isOther = this.#outputs.usesMsix && (happened & OTHERS) !== 0;
    const all = isOther ? happened | reg.ICR_OTHER : happened;
    this.#file.setBits(reg.ICR, all);
    this.#update(all);
  }

  /** A frame was received, or could not be. It may be told later (RDTR, RADV, RAID). */
  received(causes: number): void {
    const file = this.#file;
    if (this.#outputs.usesMsix) {
      this.raise(causes);
      return;
    }
    const delayable = RECEIVING | (file.has(reg.RFCTL, reg.RFCTL_ACK_DIS) ? 0 : reg.ICR_ACK);
    this.#delayed |= causes & delayable;
    const rest = causes & ~delayable;
    const isAck = (this.#delayed & reg.ICR_ACK) !== 0;
    if (file.get(reg.RDTR) === 0 || rest !== 0 || (isAck && file.get(reg.RAID) === 0)) {
      this.raise(rest);
      return;
    }
    this.#delay(reg.RDTR);
    this.#delayOnce(reg.RADV);
    if (isAck) this.#delayOnce(reg.RAID);
  }

  /** A transmit ring is done. @param mayWait the last descriptor lets it be told later (TIDV, TADV) */
  sent(causes: number, mayWait: boolean): void {
    if (!mayWait || this.#outputs.usesMsix || this.#file.get(reg.TIDV) === 0 || causes & ~SENDING) {
      this.raise(causes);
      return;
    }
    this.#delayed |= causes;
    this.#delay(reg.TIDV);
    this.#delayOnce(reg.TADV);
  }

  /** What a delay is for is told now, where it runs. */
  flush(register: number): void {
    if (this.#delays.has(register)) this.raise(0);
  }

  setIms(value: number): void {
    const file = this.#file;
    const bits = value & reg.IMS_WRITABLE;
    file.setBits(reg.IMS, bits);
    if (this.#outputs.usesMsix && file.has(reg.CTRL_EXT, reg.CTRL_EXT_PBA_CLR))
      for (const [cause, shift] of ENTRIES) {
        const vector = bits & cause ? this.#vectorAt(shift) : undefined;
        if (vector !== undefined) this.#outputs.dropPending(vector);
      }
    if (bits === reg.IMS_WRITABLE && file.has(reg.CTRL_EXT, reg.CTRL_EXT_TIMERS_CLEAR)) this.#throttle.expire();
    this.#update();
  }

  setImc(value: number): void {
    this.#file.clearBits(reg.IMS, value);
    this.#update();
  }

  /** What is written is cleared; with the bit of all others, they are too (Windows' driver wants that). */
  setIcr(value: number): void {
    this.#maskAutomatically();
    this.#file.clearBits(reg.ICR, value & reg.ICR_OTHER ? value | OTHERS : value);
    this.#update();
  }

  /** A read clears it (10.2.4.1). */
  readIcr(): number {
    const value = this.#file.get(reg.ICR);
    this.#maskAutomatically();
    this.#file.set(reg.ICR, 0);
    this.#update();
    return value;
  }

  /** Whether the line is up, where there is one. */
  get isSignalled(): boolean {
    return this.#pending !== 0;
  }

  get #pending(): number {
    return this.#file.get(reg.ICR) & this.#file.get(reg.IMS);
  }

  /** IAM is taken out of IMS when ICR is read or written (CTRL_EXT.IAME). */
  #maskAutomatically(): void {
    const file = this.#file;
    if (file.has(reg.ICR, reg.ICR_ASSERTED) && file.has(reg.CTRL_EXT, reg.CTRL_EXT_IAME))
      file.clearBits(reg.IMS, file.get(reg.IAM));
  }

  /** Has interrupts be what ICR and IMS say. @param raised causes that have happened just now */
  #update(raised = 0): void {
    const file = this.#file;
    const { usesMsix, messagesEnabled, isMapped } = this.#outputs;
    file.clearBits(reg.ICR, reg.ICR_ASSERTED);
    if (file.get(reg.ICR) !== 0) file.setBits(reg.ICR, reg.ICR_ASSERTED);
    const pending = this.#pending;
    const isFresh = isMapped ? raised : 0;
    this.#told &= pending & ~isFresh;
    const fresh = pending & ~this.#told;
    this.#told |= fresh;
    if (usesMsix) this.#tell(fresh);
    else if (fresh !== 0) this.#throttle.send(ALL);
    if (pending === 0 && !messagesEnabled) this.#outputs.lowerLine();
  }

  #vectorAt(shift: number): number | undefined {
    const entry = (this.#file.get(reg.IVAR) >>> shift) & 0xf;
    const vector = entry & 7;
    return entry & reg.IVAR_VALID && vector < reg.VECTORS ? vector : undefined;
  }

  /** Sends the messages of causes, which clears and masks some of them (EIAC, CTRL_EXT.EIAME). */
  #tell(causes: number): void {
    const file = this.#file;
    for (const [cause, shift] of ENTRIES) {
      if (!(causes & cause)) continue;
      const vector = this.#vectorAt(shift);
      if (vector !== undefined) this.#throttle.send(vector);
      if (file.has(reg.CTRL_EXT, reg.CTRL_EXT_EIAME)) file.clearBits(reg.IMS, file.get(reg.IAM) & cause);
      const cleared = file.get(reg.EIAC) & cause;
      file.clearBits(reg.ICR, cleared);
      this.#told &= ~cleared;
    }
  }

  #delay(register: number): void {
    const time = this.#file.get(register);
    this.#delays.get(register)?.();
    this.#delays.set(
      register,
      this.#clock.later(time * DELAY_MS, () => this.raise(0)),
    );
  }

  #delayOnce(register: number): void {
    if (this.#file.get(register) !== 0 && !this.#delays.has(register)) this.#delay(register);
  }

  #takeDelayed(): number {
    const delayed = this.#delayed;
    this.#delayed = 0;
    for (const cancel of this.#delays.values()) cancel();
    this.#delays.clear();
    return delayed;
  }

  get state(): CauseState {
    const [quiet, postponed] = this.#throttle.timing;
    const delays = DELAYS.reduce((bits, register, i) => (this.#delays.has(register) ? bits | (1 << i) : bits), 0);
    return { delayed: this.#delayed, delays, told: this.#told, quiet, postponed };
  }

  /** Goes on with what was saved: all times begin anew. */
  restore({ delayed, delays, told, quiet, postponed }: CauseState): void {
    this.reset();
    this.#delayed = delayed;
    this.#told = told;
    for (const [i, register] of DELAYS.entries()) if (delays & (1 << i)) this.#delay(register);
    this.#throttle.restore(quiet, postponed);
  }
}
