import type { HeldMemory } from "./held-memory.ts";
import type { FileIdentity, Mapping } from "./memory-map.ts";

/** A byte of a file that several memories may map. */
export interface FilePlace extends FileIdentity {
  readonly offset: number;
}

/** The same in a memory that maps it, with the bytes from there to the end of the mapping. */
export interface SharedPlace {
  readonly held: HeldMemory;
  readonly address: number;
  readonly length: number;
}

type Noted = FilePlace & { readonly start: number; readonly end: number };

/**
 * The shared mappings of which a process has had pages pinned. They outlive its memory: what a forked child leaves
 * behind is there as long as its parent maps it.
 */
export class SharedMappings {
  readonly #noted = new Map<number, Noted>();

  /** Pages of it are pinned. */
  note(mapping: Mapping): void {
    const { start, end, inode, offset, deviceMajor, deviceMinor } = mapping;
    const known = this.#noted.get(start);
    if (known?.inode === inode && known.end === end && known.offset === offset) return;
    this.#noted.set(start, { start, end, inode, offset, deviceMajor, deviceMinor });
  }

  /** Which byte of which file an address was; undefined for memory that was not shared. */
  find(address: number): FilePlace | undefined {
    for (const { start, end, offset, ...file } of this.#noted.values()) {
      if (address >= start && address < end) return { ...file, offset: offset + address - start };
    }
    return undefined;
  }
}
