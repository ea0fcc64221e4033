import type { Phy } from "./phy.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** What registers have the device do, whichever controller it is. */
export interface ControlEffects {
  reset(): void;
  /** There may be descriptors for what has come. */
  receive(): void;
  /** The PHY was asked to say so when MDIC is done. */
  accessDone(): void;
  dropPending(vector: number): void;
}

/** The registers that both controllers have with the same rules: control, status, EEPROM, PHY, semaphore. */
export class ControlRegisters {
  readonly #file: RegisterFile;
  readonly #phy: Phy;
  /** Words. */
  readonly #eeprom: Uint16Array;
  readonly #vectors: number;
  readonly #effects: ControlEffects;

  /** @param vectors how many MSI-X vectors there are */
  constructor(about: { file: RegisterFile; phy: Phy; eeprom: Uint16Array; vectors: number; effects: ControlEffects }) {
    this.#file = about.file;
    this.#phy = about.phy;
    this.#eeprom = about.eeprom;
    this.#vectors = about.vectors;
    this.#effects = about.effects;
  }

  /** @returns whether the register is one of these */
  write(offset: number, value: number): boolean {
    const file = this.#file;
    switch (offset) {
      case reg.CTRL:
      case reg.CTRL_DUP:
        this.#control(value);
        return true;
      case reg.STATUS:
        if (!(value & reg.STATUS_PHYRA)) file.clearBits(reg.STATUS, reg.STATUS_PHYRA);
        return true;
      case reg.EECD:
        file.set(offset, (file.get(offset) & reg.EECD_READ_ONLY) | (value & ~reg.EECD_READ_ONLY));
        return true;
      case reg.EERD:
        file.set(offset, this.#word(value));
        return true;
      case reg.CTRL_EXT:
        file.set(offset, value & ~reg.CTRL_EXT_SELF_CLEARING);
        return true;
      case reg.MDIC:
        file.set(offset, this.#phy.command(value, file.get(offset)));
        if (value & (1 << 29)) this.#effects.accessDone();
        return true;
      case reg.RCTL:
        file.set(offset, value);
        this.#effects.receive();
        return true;
      case reg.GCR:
        file.set(offset, (file.get(offset) & reg.GCR_READ_ONLY) | (value & ~reg.GCR_READ_ONLY));
        return true;
      case reg.SWSM:
        file.set(offset, value);
        return true;
      case reg.PBACLR:
        this.#clearPending(value);
        return true;
    }
    return false;
  }

  /** What STATUS reads as. */
  get status(): number {
    const file = this.#file;
    const control = file.get(reg.CTRL);
    let status = file.get(reg.STATUS);
    if (!(control & reg.CTRL_FORCE_DUPLEX) || control & reg.CTRL_FD) status |= reg.STATUS_FD;
    const isForced = control & reg.CTRL_FORCE_SPEED || file.has(reg.CTRL_EXT, reg.CTRL_EXT_SPEED_BYPASS);
    const speed = (control & reg.CTRL_SPEED) >>> 8;
    status |= isForced && speed < 2 ? speed << 6 : reg.STATUS_SPEED_1000;
    return control & reg.CTRL_GIO_MASTER_DISABLE ? status : status | reg.STATUS_GIO_MASTER;
  }

  /** What else a read of a register does, after it has its value. */
  afterRead(offset: number): void {
    const file = this.#file;
    if (offset === reg.SWSM) file.setBits(reg.SWSM, reg.SWSM_SMBI);
    const cleared = file.map.clearedByRead(offset);
    if (cleared > 0) file.set(offset, 0);
    if (cleared > 1) file.set(offset - 4, 0);
  }

  #control(value: number): void {
    this.#file.set(reg.CTRL, value & ~(reg.CTRL_RST | reg.CTRL_PHY_RST));
    if (value & reg.CTRL_RST) this.#effects.reset();
    if (value & reg.CTRL_PHY_RST) this.#file.setBits(reg.STATUS, reg.STATUS_PHYRA);
  }

  #word(value: number): number {
    const address = (value >>> 2) & 0x3fff;
    if (!(value & reg.EERD_START) || address >= this.#eeprom.length) return address << 2;
    return (this.#eeprom[address]! << 16) | (address << 2) | reg.EERD_DONE;
  }

  #clearPending(value: number): void {
    this.#file.set(reg.PBACLR, value & ((1 << this.#vectors) - 1));
    for (let vector = 0; vector < this.#vectors; vector++) if (value & (1 << vector)) this.#effects.dropPending(vector);
  }
}
