import { ControlRegisters } from "../../gigabit/control-registers.ts";
import type { PacketClock } from "../../gigabit/packet-clock.ts";
import type { Phy } from "../../gigabit/phy.ts";
import type { PortRegisters } from "../../gigabit/port.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import type { Causes } from "./causes.ts";
import * as reg from "./registers.ts";

/** What a register has the device do. */
interface RegisterEffects {
  reset(): void;
  transmit(queue: number): void;
  /** There may be descriptors for what has come. */
  receive(): void;
  dropPending(vector: number): void;
}

interface Parts {
  readonly file: RegisterFile;
  readonly phy: Phy;
  readonly causes: Causes;
  readonly clock: PacketClock;
  /** Words; programs may write them. */
  readonly eeprom: Uint16Array;
  readonly effects: RegisterEffects;
}

/** Reads and writes of registers, each by its own rule. */
export class RegisterAccess implements PortRegisters {
  readonly #parts: Parts;
  readonly #control: ControlRegisters;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { file, phy, eeprom, causes, effects } = parts;
    const accessDone = () => causes.raise(reg.ICR_MDAC);
    this.#control = new ControlRegisters({
      ...{ file, phy, eeprom, vectors: reg.VECTORS },
      effects: {
        reset: () => effects.reset(),
        receive: () => effects.receive(),
        dropPending: (vector) => effects.dropPending(vector),
        accessDone,
      },
    });
  }

  read(offset: number): number {
    if (offset === reg.ICR) return this.#parts.causes.readIcr();
    if (offset === reg.SYSTIML) this.#parts.clock.latch(reg.SYSTIML);
    const value = this.peek(offset);
    this.#control.afterRead(offset);
    return value;
  }

  peek(offset: number): number {
    const { file } = this.#parts;
    if (offset === reg.STATUS) return this.#control.status;
    if (offset === reg.ICS) return file.get(reg.ICR);
    return file.map.isReadable(offset) ? file.get(offset) : 0;
  }

  write(offset: number, value: number): void {
    if (this.#control.write(offset, value) || this.#writeCause(offset, value)) return;
    const { file, causes, effects } = this.#parts;
    switch (offset) {
      case reg.TCTL:
        file.set(offset, value);
        for (let queue = 0; queue < reg.QUEUES; queue++) effects.transmit(queue);
        return;
      case reg.EEWR:
        this.#writeWord(value);
        return;
      case reg.SYSTIML:
        file.set(offset, value);
        return;
      case reg.RX_QUEUES + reg.DCTL:
        for (let queue = 0; queue < reg.QUEUES; queue++) file.set(offset + queue * reg.QUEUE_STRIDE, value);
        return;
    }
    const mask = file.map.writeMask(offset);
    if (mask === 0) return;
    file.set(offset, value & mask);
    if ((offset === reg.RDTR || offset === reg.TIDV) && value & reg.DELAY_FLUSH) causes.flush(offset);
    for (let queue = 0; queue < reg.QUEUES; queue++) {
      if (offset === reg.RX_QUEUES + queue * reg.QUEUE_STRIDE + reg.TAIL) effects.receive();
      if (offset === reg.TX_QUEUES + queue * reg.QUEUE_STRIDE + reg.TAIL) effects.transmit(queue);
    }
  }

  #writeCause(offset: number, value: number): boolean {
    const { causes } = this.#parts;
    switch (offset) {
      case reg.ICR:
        causes.setIcr(value);
        return true;
      case reg.ICS:
        causes.raise(value & ~reg.ICR_ASSERTED);
        return true;
      case reg.IMS:
        causes.setIms(value);
        return true;
      case reg.IMC:
        causes.setImc(value);
        return true;
    }
    return false;
  }

  #writeWord(value: number): void {
    const { file, eeprom } = this.#parts;
    const address = (value >>> 2) & 0x3fff;
    const isDone = (value & reg.EERD_START) !== 0 && address < eeprom.length;
    if (isDone) eeprom[address] = value >>> 16;
    file.set(reg.EEWR, (value & ~(reg.EERD_START | reg.EERD_DONE)) | (isDone ? reg.EERD_DONE : 0));
  }

  /** A reset clears all of them. */
  adopt(): boolean {
    return false;
  }
}
