import { type Area, PROT_READ, PROT_WRITE } from "./model-areas.ts";
import { FlatMemory } from "./model-pages.ts";

/**
 * The mapping that a program has its structures in, as words: a request that finds its structure there again need not
 * look for the mapping. Only for memory in one piece that can be read and written.
 */
export class StructureWindow {
  /** Bytes. */
  #start = 0;
  #end = 0;
  #words: Int32Array | undefined;

  /** From now on structures are looked for in this mapping, if it is of the right kind. */
  remember(area: Area, pageSize: number): void {
    const { object, protection } = area;
    const both = PROT_READ | PROT_WRITE;
    if (!(object instanceof FlatMemory) || object.words === undefined || (protection & both) !== both) return;
    this.#start = area.start * pageSize;
    this.#end = area.reach() * pageSize;
    const first = (area.first * pageSize) / 4;
    this.#words = object.words.subarray(first, first + (this.#end - this.#start) / 4);
  }

  /** A mapping has changed. */
  forget(): void {
    this.#end = 0;
    this.#words = undefined;
  }

  /** Copies a structure in; false when it is not in the window. */
  read(address: number, into: Int32Array, bytes: number): boolean {
    const words = this.#words;
    const offset = address - this.#start;
    if (words === undefined || offset < 0 || address + bytes > this.#end || (offset | bytes) & 3) return false;
    // as an integer, or each place would be made of a double
    const at = (offset / 4) | 0;
    for (let i = 0; i < bytes >>> 2; i++) into[i] = words[at + i]!;
    return true;
  }

  /** Copies a structure out; false when it is not in the window. */
  write(address: number, from: Int32Array, bytes: number): boolean {
    const words = this.#words;
    const offset = address - this.#start;
    if (words === undefined || offset < 0 || address + bytes > this.#end || (offset | bytes) & 3) return false;
    const at = (offset / 4) | 0;
    for (let i = 0; i < bytes >>> 2; i++) words[at + i] = from[i]!;
    return true;
  }
}
