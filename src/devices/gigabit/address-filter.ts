import { isBroadcast, isMulticast } from "./frame.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** Which bits of an address are looked up in a hash table, by RCTL.MO (82576 datasheet, 8.9.1). */
const HASH_SHIFTS = [4, 3, 2, 0];

/** What a port takes by address and VLAN (82574 datasheet, 7.1.1; 82576 datasheet, 7.1.1). */
export class AddressFilter {
  readonly #file: RegisterFile;
  readonly #tables: readonly (readonly [first: number, count: number])[];

  /** @param tables of receive addresses: offset, and how many */
  constructor(file: RegisterFile, tables: readonly (readonly [first: number, count: number])[]) {
    this.#file = file;
    this.#tables = tables;
  }

  passesVlan(vlan: number): boolean {
    if (!this.#file.has(reg.RCTL, reg.RCTL_VFE)) return true;
    return this.#file.has(reg.VFTA + 4 * (vlan >>> 5), 1 << (vlan & 0x1f));
  }

  passesAddress(frame: Uint8Array): boolean {
    const file = this.#file;
    const accepts = isBroadcast(frame) ? reg.RCTL_BAM : isMulticast(frame) ? reg.RCTL_MPE : reg.RCTL_UPE;
    if (file.has(reg.RCTL, accepts)) return true;
    for (const _ of this.matching(frame)) return true;
    return this.isHashed(frame, reg.MTA);
  }

  /** The high halves of the receive addresses that are the frame's. */
  *matching(frame: Uint8Array): Generator<number> {
    const low = (frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24)) >>> 0;
    const high = frame[4]! | (frame[5]! << 8);
    for (const [first, count] of this.#tables)
      for (let i = 0; i < count; i++) {
        const value = this.#file.get(first + 8 * i + 4);
        const isMatch = value & reg.RAH_AV && (value & 0xffff) === high && this.#file.get(first + 8 * i) === low;
        if (isMatch) yield value;
      }
  }

  /** Whether a hash table has the frame's address. */
  isHashed(frame: Uint8Array, table: number): boolean {
    const shift = HASH_SHIFTS[(this.#file.get(reg.RCTL) >>> reg.RCTL_MO_SHIFT) & 3]!;
    const bit = (((frame[5]! << 8) | frame[4]!) >>> shift) & 0xfff;
    return this.#file.has(table + 4 * (bit >>> 5), 1 << (bit & 0x1f));
  }
}
