import type { Mappings } from "../domain.ts";
import { type FaultClass, type Refused, refuseSecond } from "./events.ts";

/** Memory that a guest's tables lie in: words at intermediate addresses that are multiples of 8. */
export interface GuestTables {
  /** @param what is read there, for the fault of a program's mappings that do not have it */
  load(address: bigint, what: FaultClass): bigint | Refused;
  /** Undefined when it was written. */
  store(address: bigint, value: bigint): Refused | undefined;
}

/** A piece of the second stage. */
export interface SecondHit {
  /** log2 of the bytes around the address that are mapped alike. */
  readonly shift: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * The second stage: a program's mappings, by intermediate addresses, with a guest's tables in the memory behind it.
 */
export class SecondStage implements GuestTables {
  readonly #mappings: Mappings;
  readonly #last: bigint;
  readonly #word = new Uint8Array(8);
  readonly #view = new DataView(this.#word.buffer);

  /** @param last the last address that it translates */
  constructor(mappings: Mappings, last: bigint) {
    this.#mappings = mappings;
    this.#last = last;
  }

  /** Refused when it maps nothing there, or does not allow the access. */
  translate(address: bigint, write: boolean, what: FaultClass): SecondHit | Refused {
    if (address > this.#last) return refuseSecond("F_ADDR_SIZE", what, address);
    const found = this.#mappings.find(address);
    if (!found) return refuseSecond("F_TRANSLATION", what, address);
    return (write ? found.write : found.read) ? found : refuseSecond("F_PERMISSION", what, address);
  }

  load(address: bigint, what: FaultClass): bigint | Refused {
    const hit = this.translate(address, false, what);
    if ("refused" in hit) return hit;
    if (!this.#mappings.read(address, this.#word)) return refuseSecond("F_TRANSLATION", what, address);
    return this.#view.getBigUint64(0, true);
  }

  store(address: bigint, value: bigint): Refused | undefined {
    const hit = this.translate(address, true, "table");
    if ("refused" in hit) return hit;
    this.#view.setBigUint64(0, value, true);
    return this.#mappings.write(address, this.#word) ? undefined : refuseSecond("F_TRANSLATION", "table", address);
  }

  /** False when the memory is not there (any more). */
  read(address: bigint, into: Uint8Array): boolean {
    return this.#mappings.read(address, into);
  }

  write(address: bigint, from: Uint8Array): boolean {
    return this.#mappings.write(address, from);
  }
}
