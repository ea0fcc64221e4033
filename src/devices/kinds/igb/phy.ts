/** Registers of the PHY (IEEE 802.3, clause 22; 82576 datasheet, 8.25). */
const CONTROL = 0;
const STATUS = 1;
const PARTNER = 5;
const CONTROL_WRITABLE = 0x7dc0;
const RESTART = 1 << 9;
const AUTO_NEGOTIATION = 1 << 12;
const LOOPBACK = 1 << 14;
const LINK = 1 << 2;
const NEGOTIATED = 1 << 5;
const ACKNOWLEDGED = 1 << 14;

const R = 1;
const W = 2;
const COUNT = 32;

/** What there is, may be done with it, and its value after reset. */
const REGISTERS: readonly (readonly [number: number, access: number, initial: number])[] = [
  [CONTROL, R | W, 0x1140],
  [STATUS, R, 0x794d],
  [2, R, 0x02a8],
  [3, R, 0x0391],
  [4, R | W, 0x0de1],
  [PARTNER, R, 0x07e0],
  [6, R, 0x0005],
  [7, R | W, 0x2001],
  [8, R, 0],
  [9, R | W, 0x0f00],
  [10, R, 0x3c00],
  [15, R, 0x3000],
  [16, R | W, 0x0120],
  [17, R, 0xc000],
  [18, R | W, 0],
  [19, R, 0],
  [25, R | W, 0x008d],
  [31, W, 0],
];
const ACCESS = new Uint8Array(COUNT);
for (const [number, access] of REGISTERS) ACCESS[number] = access;

/** MDIC (8.2.4). */
const MDIC_ADDRESS_SHIFT = 21;
const MDIC_REGISTER_SHIFT = 16;
const MDIC_WRITE = 1 << 26;
const MDIC_READ = 1 << 27;
const MDIC_READY = 1 << 28;
const MDIC_ERROR = 1 << 30;
const ADDRESS = 1;

/** The copper PHY in the controller, which is reached through MDIC. */
export class Phy {
  readonly registers = new Uint16Array(COUNT);
  /** Called when the negotiation with the other side begins anew. */
  onRestart: () => void = () => {};

  constructor() {
    this.reset();
  }

  reset(): void {
    this.registers.fill(0);
    for (const [number, , initial] of REGISTERS) this.registers[number] = initial;
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
    const number = (value >>> MDIC_REGISTER_SHIFT) & 0x1f;
    if (((value >>> MDIC_ADDRESS_SHIFT) & 0x1f) !== ADDRESS) return before | MDIC_ERROR | MDIC_READY;
    if (value & MDIC_READ) {
      if (!(ACCESS[number]! & R)) return value | MDIC_ERROR | MDIC_READY;
      return (value & ~0xffff) | this.registers[number]! | MDIC_READY;
    }
    if (value & MDIC_WRITE) {
      if (!(ACCESS[number]! & W)) return value | MDIC_ERROR | MDIC_READY;
      this.#write(number, value & 0xffff);
    }
    return value | MDIC_READY;
  }

  #write(number: number, value: number): void {
    if (number !== CONTROL) {
      this.registers[number] = value;
      return;
    }
    // reset and restart are over at once
    this.registers[CONTROL] = value & CONTROL_WRITABLE;
    if (value & RESTART && this.negotiates) this.onRestart();
  }
}
