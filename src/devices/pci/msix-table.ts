import type { AccessWidth } from "../device-model.ts";
import * as pci from "./registers.ts";

const ENTRY = pci.PCI_MSIX_ENTRY_SIZE;
/** Of an entry: its mask in bit 0. */
const CONTROL = 12;

/**
 * The MSI-X table of a function and its pending bits, for models that have registers: a program that has them mapped
 * can mask single vectors (PCI Local Bus Specification 3.0, 6.8.2).
 */
export class MsixTable {
  readonly #bar: { readonly table: number; readonly pending: number };
  readonly #table: number;
  readonly #pending: number;
  readonly #entries: Uint8Array;
  readonly #view: DataView;
  readonly #waiting = new Set<number>();
  readonly #send: (vector: number) => void;

  /**
   * @param capability where MSI-X is in config space
   * @param send sends a message that was held back
   */
  constructor(config: DataView, capability: number, send: (vector: number) => void) {
    const [table, pending] = [capability + pci.PCI_MSIX_TABLE, capability + 8].map((at) => config.getUint32(at, true));
    this.#bar = { table: table! & pci.PCI_MSIX_TABLE_BIR, pending: pending! & pci.PCI_MSIX_TABLE_BIR };
    this.#table = (table! & ~pci.PCI_MSIX_TABLE_BIR) >>> 0;
    this.#pending = (pending! & ~pci.PCI_MSIX_TABLE_BIR) >>> 0;
    const last = config.getUint16(capability + pci.PCI_MSIX_FLAGS, true) & pci.PCI_MSIX_FLAGS_QSIZE;
    this.#entries = new Uint8Array((last + 1) * ENTRY);
    this.#view = new DataView(this.#entries.buffer);
    this.#send = send;
  }

  get bars(): readonly number[] {
    return [this.#bar.table, this.#bar.pending];
  }

  /** The bytes at a place in the table or the pending bits; undefined elsewhere. */
  read(region: number, offset: number, width: AccessWidth): bigint | undefined {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) {
      const byte = this.#byte(region, offset + i);
      if (byte === undefined) return undefined;
      value = (value << 8n) | BigInt(byte);
    }
    return value;
  }

  /** False where neither of them is. */
  write(region: number, offset: number, width: AccessWidth, value: bigint): boolean {
    if (this.read(region, offset, width) === undefined) return false;
    if (region !== this.#bar.table || offset < this.#table || offset >= this.#table + this.#entries.length) return true;
    const at = offset - this.#table;
    for (let i = 0; i < width; i++) this.#entries[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    this.#sendUnmasked(Math.floor(at / ENTRY));
    return true;
  }

  /** The kernel masks vectors that nobody listens to. */
  setMasked(vector: number, masked: boolean): void {
    const at = vector * ENTRY + CONTROL;
    if (at >= this.#entries.length) return;
    this.#view.setUint32(at, masked ? 1 : 0, true);
    this.#sendUnmasked(vector);
  }

  maskAll(): void {
    for (let vector = 0; vector * ENTRY < this.#entries.length; vector++) this.setMasked(vector, true);
    this.#waiting.clear();
  }

  /** Whether a message may be sent now; otherwise it is once its vector is unmasked. */
  mayMessage(vector: number): boolean {
    if (!this.#isMasked(vector)) return true;
    this.#waiting.add(vector);
    return false;
  }

  /** Forgets a message that waits. */
  drop(vector: number): void {
    this.#waiting.delete(vector);
  }

  reset(): void {
    this.#waiting.clear();
  }

  #isMasked(vector: number): boolean {
    const at = vector * ENTRY + CONTROL;
    return at < this.#entries.length && (this.#entries[at]! & 1) !== 0;
  }

  #sendUnmasked(vector: number): void {
    if (!this.#isMasked(vector) && this.#waiting.delete(vector)) this.#send(vector);
  }

  #byte(region: number, offset: number): number | undefined {
    const inTable = offset - this.#table;
    if (region === this.#bar.table && inTable >= 0 && inTable < this.#entries.length) return this.#entries[inTable];
    const inPending = offset - this.#pending;
    const bytes = Math.ceil(this.#entries.length / ENTRY / 64) * 8;
    if (region !== this.#bar.pending || inPending < 0 || inPending >= bytes) return undefined;
    let byte = 0;
    for (let bit = 0; bit < 8; bit++) if (this.#waiting.has(inPending * 8 + bit)) byte |= 1 << bit;
    return byte;
  }
}
