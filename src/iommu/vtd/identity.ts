import type { HostMemory } from "./host-memory.ts";
import type { SecondLevel, SecondLevelHit } from "./second-level.ts";

/** No second level: addresses are host physical ones. What a first-level table of the host itself goes through. */
export class IdentityLevel implements SecondLevel {
  readonly #memory: HostMemory;

  constructor(memory: HostMemory) {
    this.#memory = memory;
  }

  translate(page: number): SecondLevelHit {
    return { page, shift: 30, read: true, write: true };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    this.#memory.read(page, within, into);
    return true;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    this.#memory.write(page, within, from);
    return true;
  }
}
