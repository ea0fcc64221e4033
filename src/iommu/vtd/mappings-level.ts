import { addressToPage } from "../../address/pages.ts";
import type { Mappings, Stage } from "../domain.ts";
import { type Refused, refuse } from "./access.ts";
import type { FaultReason } from "./fault-reasons.ts";
import type { SecondLevel, SecondLevelHit } from "./second-level.ts";

/**
 * Mappings in the place of a table of the hardware's: "host physical" addresses are the addresses that are mapped,
 * which lead to memory by themselves. Where they stand for a first-stage table its faults are those of the first stage.
 */
export class MappingsLevel implements SecondLevel {
  readonly denial: FaultReason;
  readonly #mappings: Mappings;
  readonly #lastPage: number;
  readonly #isSecond: boolean;

  constructor(mappings: Mappings, stage: Stage) {
    this.#mappings = mappings;
    this.#lastPage = addressToPage(stage.last);
    this.#isSecond = stage.isSecond;
    this.denial = stage.isSecond ? "secondPermission" : "noWrite";
  }

  translate(page: number): SecondLevelHit | Refused {
    if (page > this.#lastPage) return refuse(this.#isSecond ? "beyondSecond" : "notCanonical");
    const piece = this.#mappings.find(page);
    if (!piece) return refuse(this.#isSecond ? "secondPermission" : "notPresent");
    return { page, shift: piece.shift, read: piece.read, write: piece.write };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return this.#mappings.read(page, within, into);
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return this.#mappings.write(page, within, from);
  }
}
