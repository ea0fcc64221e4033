import { ForeignFile } from "./file-description.ts";
import type { MemoryFile } from "./model-pages.ts";

/** A memfd of a program in the model. */
export class MemfdFile extends ForeignFile {
  readonly #file: MemoryFile;

  constructor(file: MemoryFile) {
    super("a memfd");
    this.#file = file;
  }

  override memory(): MemoryFile {
    return this.#file;
  }
}
