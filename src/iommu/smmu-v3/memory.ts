import { addressToPage } from "../../address/pages.ts";
import { addressIn } from "../dma-walk.ts";
import type { Mappings } from "../domain.ts";
import { TableWord } from "../table-word.ts";
import { type FaultClass, isRefused, type Refused, refuseSecond } from "./events.ts";

/** Memory that a guest's context descriptors lie in: words at intermediate addresses that are multiples of 8. */
export interface ContextMemory {
  load(address: bigint): bigint | Refused;
}

/** A piece of the second stage. */
export interface SecondHit {
  /** log2 of the bytes around the address that are mapped alike. */
  readonly shift: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * The second stage: a program's mappings, by intermediate addresses, with a guest's tables in the memory behind it. An
 * address is the number of a page of 4 KiB and how many bytes are before it in there.
 */
export class SecondStage implements ContextMemory {
  readonly #mappings: Mappings;
  readonly #lastPage: number;
  readonly #word = new TableWord();

  /** @param last the last address that it translates */
  constructor(mappings: Mappings, last: bigint) {
    this.#mappings = mappings;
    this.#lastPage = addressToPage(last);
  }

  /**
   * Refused when it maps nothing there, or does not allow the access.
   * @param what is wanted there, for the fault
   */
  translate(page: number, within: number, write: boolean, what: FaultClass): SecondHit | Refused {
    if (page > this.#lastPage) return refuseSecond("F_ADDR_SIZE", what, addressIn(page, within));
    const found = this.#mappings.find(page);
    if (!found) return refuseSecond("F_TRANSLATION", what, addressIn(page, within));
    return (write ? found.write : found.read) ? found : refuseSecond("F_PERMISSION", what, addressIn(page, within));
  }

  load(address: bigint): bigint | Refused {
    const index = Number(address & 0xfffn) >> 3;
    return this.loadWord(addressToPage(address), index, this.#word, "context") ?? this.#word.value;
  }

  /**
   * Reads a word of a page. Undefined when it was read.
   * @param index which word
   */
  loadWord(page: number, index: number, into: TableWord, what: FaultClass): Refused | undefined {
    const within = index * 8;
    const hit = this.translate(page, within, false, what);
    if (isRefused(hit)) return hit;
    if (this.#mappings.read(page, within, into.bytes)) return undefined;
    return refuseSecond("F_TRANSLATION", what, addressIn(page, within));
  }

  /** Writes one of a table. Undefined when it was written. */
  storeWord(page: number, index: number, low: number, high: number): Refused | undefined {
    const within = index * 8;
    const hit = this.translate(page, within, true, "table");
    if (isRefused(hit)) return hit;
    this.#word.setHalves(low, high);
    if (this.#mappings.write(page, within, this.#word.bytes)) return undefined;
    return refuseSecond("F_TRANSLATION", "table", addressIn(page, within));
  }

  /** False when the memory is not there (any more). */
  read(page: number, within: number, into: Uint8Array): boolean {
    return this.#mappings.read(page, within, into);
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return this.#mappings.write(page, within, from);
  }
}
