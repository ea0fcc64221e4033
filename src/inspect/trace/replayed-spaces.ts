import type { AddressSpace } from "../../kernel/address-space.ts";
import type { Operation } from "../replay/operation.ts";
import type { RecordingNames } from "./recording-names.ts";
import { ReplayedMemory } from "./replayed-memory.ts";

/** The memory of every process that was recorded. */
export class ReplayedSpaces {
  readonly #pageSize: number;
  readonly #names: RecordingNames;
  readonly #spaces = new Map<AddressSpace, ReplayedMemory>();

  /** @param pageSize of the host that repeats the recording */
  constructor(pageSize: number, names: RecordingNames) {
    this.#pageSize = pageSize;
    this.#names = names;
  }

  of(space: AddressSpace): ReplayedMemory {
    let memory = this.#spaces.get(space);
    if (!memory) {
      memory = new ReplayedMemory(this.#pageSize, this.#spaces.size + 1, () => this.#names.fresh("m"));
      this.#spaces.set(space, memory);
    }
    return memory;
  }

  /** What must come before the operation that memory was used for, and what may follow it. */
  take(): { readonly stores: readonly Operation[]; readonly dumps: readonly Operation[] } {
    if (this.#spaces.size === 1) for (const memory of this.#spaces.values()) return memory.take();
    const taken = [...this.#spaces.values()].map((memory) => memory.take());
    return { stores: taken.flatMap(({ stores }) => stores), dumps: taken.flatMap(({ dumps }) => dumps) };
  }
}
