import { ControlRegisters } from "../../gigabit/control-registers.ts";
import { PacketClock } from "../../gigabit/packet-clock.ts";
import type { Phy } from "../../gigabit/phy.ts";
import type { PortRegisters } from "../../gigabit/port.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import type { Causes } from "./causes.ts";
import type { Mailboxes } from "./mailbox.ts";
import * as reg from "./registers.ts";

/** What a register has the device do. */
export interface RegisterEffects {
  /** Virtual functions that there are. */
  readonly functions: number;
  reset(): void;
  transmit(queue: number): void;
  /** There may be descriptors for what has come. */
  receive(): void;
  dropPending(vector: number): void;
  resetFunction(vf: number): void;
}

interface Parts {
  readonly file: RegisterFile;
  readonly phy: Phy;
  readonly causes: Causes;
  readonly mailboxes: Mailboxes;
  /** Words. */
  readonly eeprom: Uint16Array;
  /** Milliseconds. */
  readonly now: () => number;
  readonly outputs: RegisterEffects;
}

/** Reads and writes of registers, each by its own rule. Offsets are the registers' own, without aliases. */
export class RegisterAccess implements PortRegisters {
  readonly #parts: Parts;
  readonly #file: RegisterFile;
  readonly #control: ControlRegisters;
  readonly #clock: PacketClock;
  /** Registers that keep their value over a reset, and were written since the device is there. */
  readonly #written = new Set<number>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#file = parts.file;
    this.#clock = new PacketClock(parts.file, parts.now);
    const { file, phy, eeprom, causes, outputs } = parts;
    const effects = {
      reset: () => outputs.reset(),
      receive: () => outputs.receive(),
      accessDone: () => causes.raise(reg.ICR_MDAC),
      dropPending: (vector: number) => outputs.dropPending(vector),
    };
    this.#control = new ControlRegisters({ file, phy, eeprom, vectors: reg.PF_VECTORS, effects });
  }

  read(offset: number): number {
    const { causes, mailboxes } = this.#parts;
    if (offset === reg.ICR) return causes.readIcr();
    if (offset === reg.SYSTIML) this.#clock.latch(reg.SYSTIML);
    const vf = mailboxOf(offset, reg.V2PMAILBOX);
    if (vf !== undefined) return mailboxes.readVirtual(vf);
    const value = this.peek(offset);
    if (offset === reg.TXSTMPH) this.#file.clearBits(reg.TSYNCTXCTL, reg.TSYNCTXCTL_VALID);
    this.#control.afterRead(offset);
    return value;
  }

  /** What a read gives, without what it does. */
  peek(offset: number): number {
    if (offset === reg.STATUS) return this.#status();
    if (offset === reg.IMC) return this.#file.get(reg.IMS);
    const vector = (offset - reg.EITR) / 4;
    if (vector >= 0 && vector < reg.VECTORS) return this.#parts.causes.readEitr(vector);
    return this.#file.map.isReadable(offset) ? this.#file.get(offset) : 0;
  }

  write(offset: number, value: number): void {
    if (offset >= reg.RX_QUEUES && offset < reg.TX_QUEUES + reg.QUEUES * reg.QUEUE_STRIDE)
      this.#writeRing(offset, value);
    else if (offset >= reg.PVT) this.#writeVirtual(offset, value);
    else if (!this.#writeSpecial(offset, value)) this.#writePlain(offset, value);
  }

  #writePlain(offset: number, value: number): void {
    const mask = this.#file.map.writeMask(offset);
    if (mask === 0) return;
    this.#file.set(offset, value & mask);
    if (offset === reg.RXPBS || offset === reg.TXPBS) this.#written.add(offset);
  }

  #writeRing(offset: number, value: number): void {
    this.#writePlain(offset, value);
    const queue = Math.floor((offset % 0x1000) / reg.QUEUE_STRIDE) % reg.QUEUES;
    if (offset < reg.TX_QUEUES) this.#parts.outputs.receive();
    else if (offset % reg.QUEUE_STRIDE === reg.TAIL) this.#parts.outputs.transmit(queue);
  }

  /** @returns whether it is one of those with a rule of their own */
  #writeSpecial(offset: number, value: number): boolean {
    const { mailboxes } = this.#parts;
    const file = this.#file;
    if (this.#control.write(offset, value)) {
      if (offset === reg.CTRL_EXT && value & reg.CTRL_EXT_PFRSTD) mailboxes.resetDone();
      return true;
    }
    switch (offset) {
      case reg.MBVFICR:
      case reg.VFLRE:
        file.clearBits(offset, value);
        return true;
      case reg.SYSTIML:
        file.set(offset, value);
        return true;
    }
    return this.#writeCause(offset, value) || this.#writeMailbox(offset, value);
  }

  #writeCause(offset: number, value: number): boolean {
    const { causes } = this.#parts;
    switch (offset) {
      case reg.ICR:
        causes.setIcr(value);
        return true;
      case reg.ICS:
        causes.raise(value);
        return true;
      case reg.IMS:
        causes.setIms(value);
        return true;
      case reg.IMC:
        causes.setImc(value);
        return true;
      case reg.EICS:
        causes.setEics(value);
        return true;
      case reg.EIMS:
        causes.setEims(value);
        return true;
      case reg.EIMC:
        causes.setEimc(value);
        return true;
      case reg.EIAC:
        causes.setEiac(value);
        return true;
      case reg.EIAM:
        causes.setEiam(value);
        return true;
      case reg.EICR:
        causes.setEicr(value);
        return true;
    }
    const vector = (offset - reg.EITR) / 4;
    if (vector < 0 || vector >= reg.VECTORS) return false;
    causes.setEitr(vector, value);
    this.#written.add(offset);
    return true;
  }

  #writeMailbox(offset: number, value: number): boolean {
    const { mailboxes } = this.#parts;
    const physical = mailboxOf(offset, reg.P2VMAILBOX);
    if (physical !== undefined) mailboxes.writePhysical(physical, value);
    const virtual = mailboxOf(offset, reg.V2PMAILBOX);
    if (virtual !== undefined) mailboxes.writeVirtual(virtual, value);
    return physical !== undefined || virtual !== undefined;
  }

  #status(): number {
    const { status } = this.#control;
    const { functions } = this.#parts.outputs;
    return functions > 0 ? status | (functions << reg.STATUS_NUM_VFS_SHIFT) | reg.STATUS_IOV_MODE : status;
  }

  /** What a virtual function wrote, or the physical one in its place. */
  #writeVirtual(offset: number, value: number): void {
    const { causes, outputs } = this.#parts;
    const vf = Math.floor((offset - reg.PVT) / reg.PVT_STRIDE);
    if (vf >= reg.POOLS) {
      this.#writeVirtualVectors(offset, value);
      return;
    }
    const shifted = (value & 7) << (reg.VECTORS - reg.VF_VECTORS * (vf + 1));
    switch (offset % reg.PVT_STRIDE) {
      case reg.PVTCTRL:
        if (value & reg.CTRL_RST) outputs.resetFunction(vf);
        return;
      case reg.PVTEICS:
        causes.setEics(shifted);
        return;
      case reg.PVTEIMS:
        this.#file.set(offset, value);
        causes.setEims(shifted);
        return;
      case reg.PVTEIMC:
        causes.setEimc(shifted);
        return;
      case reg.PVTEIAC:
        this.#file.set(offset, value);
        causes.setEiac(shifted);
        return;
      case reg.PVTEIAM:
        this.#file.set(offset, value);
        causes.setEiam(shifted);
        return;
      case reg.PVTEICR:
        this.#file.set(offset, value);
        causes.setEicr(shifted);
        return;
    }
  }

  /** VTIVAR: the vectors of its first queues, which IVAR has too. */
  #writeVirtualVectors(offset: number, value: number): void {
    this.#writePlain(offset, value);
    const vf = (offset - reg.VTIVAR) / 4;
    if (vf < 0 || vf >= reg.POOLS) return;
    const first = reg.VECTORS - reg.VF_VECTORS * (vf + 1);
    for (const shift of [0, 8]) {
      const entry = (value >>> shift) & 0xff;
      if (entry & reg.IVAR_VALID)
        this.#file.setBits(reg.IVAR + 4 * vf, ((reg.IVAR_VALID | (first + (entry & 7))) & 0xff) << shift);
    }
  }

  /** A packet that is being sent is stamped, once until somebody has read the stamp. */
  stamp(): void {
    const file = this.#file;
    if (!file.has(reg.TSYNCTXCTL, reg.TSYNCTXCTL_ENABLED) || file.has(reg.TSYNCTXCTL, reg.TSYNCTXCTL_VALID)) return;
    file.setBits(reg.TSYNCTXCTL, reg.TSYNCTXCTL_VALID);
    this.#clock.latch(reg.TXSTMPL);
  }

  /** Takes over what an earlier program left in a register that no reset clears. */
  adopt(offset: number, value: number): boolean {
    const vector = (offset - reg.EITR) / 4;
    if (vector < 0 || vector >= reg.VECTORS || this.#written.has(offset)) return false;
    this.#parts.causes.setEitr(vector, value);
    return true;
  }
}

/** Whose mailbox register it is. */
function mailboxOf(offset: number, first: number): number | undefined {
  const vf = (offset - first) / 4;
  return vf >= 0 && vf < reg.POOLS ? vf : undefined;
}
