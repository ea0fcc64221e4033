import type { HostMemory } from "./host-memory.ts";
import type { SecondLevel, SecondLevelHit } from "./second-level.ts";

/** No second level: addresses are host physical ones. What a first-level table of the host itself goes through. */
export class IdentityLevel implements SecondLevel {
  readonly #memory: HostMemory;

  constructor(memory: HostMemory) {
    this.#memory = memory;
  }

  translate(address: bigint): SecondLevelHit {
    return { address, shift: 30, read: true, write: true };
  }

  read(address: bigint, into: Uint8Array): boolean {
    this.#memory.read(address, into);
    return true;
  }

  write(address: bigint, from: Uint8Array): boolean {
    this.#memory.write(address, from);
    return true;
  }
}
