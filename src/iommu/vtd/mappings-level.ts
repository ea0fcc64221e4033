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
  readonly #stage: Stage;

  constructor(mappings: Mappings, stage: Stage) {
    this.#mappings = mappings;
    this.#stage = stage;
    this.denial = stage.isSecond ? "secondPermission" : "noWrite";
  }

  translate(address: bigint): SecondLevelHit | Refused {
    const { last, isSecond } = this.#stage;
    if (address > last) return refuse(isSecond ? "beyondSecond" : "notCanonical");
    const piece = this.#mappings.find(address);
    return piece ? { address, ...piece } : refuse(isSecond ? "secondPermission" : "notPresent");
  }

  read(address: bigint, into: Uint8Array): boolean {
    return this.#mappings.read(address, into);
  }

  write(address: bigint, from: Uint8Array): boolean {
    return this.#mappings.write(address, from);
  }
}
