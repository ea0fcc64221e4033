/** Registers of a PHY (IEEE 802.3, clause 22; 82576 datasheet, 8.25; 82574 datasheet, 9.1). */
export const CONTROL = 0;
export const STATUS = 1;
export const PARTNER = 5;
const CONTROL_WRITABLE = 0x7dc0;
const RESTART = 1 << 9;
const AUTO_NEGOTIATION = 1 << 12;
const LOOPBACK = 1 << 14;
const LINK = 1 << 2;
const NEGOTIATED = 1 << 5;
const ACKNOWLEDGED = 1 << 14;

/** What may be done with a register. */
export const R = 1;
export const W = 2;
const COUNT = 32;

/** A register of a PHY: its number, what may be done with it, and its value after reset. */
export type PhyRegister = readonly [number: number, access: number, initial: number];

/** What is particular to one kind of PHY. */
export interface PhyFacts {
  /** Registers that are the same on every page. */
  readonly registers: readonly PhyRegister[];
  /** More, by page. */
  readonly pages?: ReadonlyMap<number, readonly PhyRegister[]>;
  /** The register that says which page the numbers are of, and how many pages there are. */
  readonly page?: { readonly number: number; readonly count: number };
  /** A register and its bit that has the negotiation begin anew, and reads as 0. */
  readonly restart?: { readonly number: number; readonly bit: number };
}

/** MDIC (82576 datasheet, 8.2.4). */
const MDIC_ADDRESS_SHIFT = 21;
const MDIC_REGISTER_SHIFT = 16;
const MDIC_WRITE = 1 << 26;
const MDIC_READ = 1 << 27;
const MDIC_READY = 1 << 28;
const MDIC_ERROR = 1 << 30;
const ADDRESS = 1;

/** The copper PHY in the controller, which is reached through MDIC. */
export class Phy {
  /** Page by page, 32 each. */
  readonly registers: Uint16Array;
  readonly #facts: PhyFacts;
  readonly #access: Uint8Array;
  readonly #initial: Uint16Array;
  readonly #isOnEveryPage: ReadonlySet<number>;
  /** Called when the negotiation with the other side begins anew. */
  onRestart: () => void = () => {};

  constructor(facts: PhyFacts) {
    const pages = facts.page?.count ?? 1;
    this.#facts = facts;
    this.#isOnEveryPage = new Set(facts.registers.map(([number]) => number));
    this.registers = new Uint16Array(COUNT * pages);
    this.#access = new Uint8Array(COUNT * pages);
    this.#initial = new Uint16Array(COUNT * pages);
    for (const [page, registers] of [[0, facts.registers] as const, ...(facts.pages ?? [])])
      for (const [number, access, initial] of registers) {
        this.#access[COUNT * page + number] = access;
        this.#initial[COUNT * page + number] = initial;
      }
    this.reset();
  }

  reset(): void {
    this.registers.set(this.#initial);
  }

  get isLoopback(): boolean {
    return (this.registers[CONTROL]! & LOOPBACK) !== 0;
  }

  get negotiates(): boolean {
    return (this.registers[CONTROL]! & AUTO_NEGOTIATION) !== 0;
  }

  get hasNegotiated(): boolean {
    return (this.registers[STATUS]! & NEGOTIATED) !== 0;
  }

  linkDown(): void {
    this.registers[STATUS]! &= ~(LINK | NEGOTIATED);
    this.registers[PARTNER]! &= ~ACKNOWLEDGED;
  }

  linkUp(): void {
    this.registers[STATUS]! |= LINK | NEGOTIATED;
    this.registers[PARTNER]! |= ACKNOWLEDGED;
  }

  /**
   * Does what is written to MDIC, which takes no time.
   * @param before what MDIC is: it stays for another PHY than the one that is there
   * @returns what MDIC is then
   */
  command(value: number, before: number): number {
    const place = this.#place((value >>> MDIC_REGISTER_SHIFT) & 0x1f);
    if (((value >>> MDIC_ADDRESS_SHIFT) & 0x1f) !== ADDRESS) return before | MDIC_ERROR | MDIC_READY;
    if (value & MDIC_READ) {
      if (!(this.#access[place]! & R)) return value | MDIC_ERROR | MDIC_READY;
      return (value & ~0xffff) | this.registers[place]! | MDIC_READY;
    }
    if (value & MDIC_WRITE) {
      if (!(this.#access[place]! & W)) return value | MDIC_ERROR | MDIC_READY;
      this.#write(place, value & 0xffff);
    }
    return value | MDIC_READY;
  }

  /** Where the register of a number is, on the page that is chosen. */
  #place(number: number): number {
    const { page } = this.#facts;
    if (page === undefined || this.#isOnEveryPage.has(number)) return number;
    return COUNT * (this.registers[page.number]! & 0x7f) + number;
  }

  #write(place: number, value: number): void {
    const { restart } = this.#facts;
    if (place === CONTROL) {
      // reset and restart are over at once
      this.registers[CONTROL] = value & CONTROL_WRITABLE;
      if (value & RESTART && this.negotiates) this.onRestart();
    } else if (place === restart?.number) {
      this.registers[place] = value & ~restart.bit;
      if (value & restart.bit) this.onRestart();
    } else this.registers[place] = value;
  }
}
