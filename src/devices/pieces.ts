import type { SavedMemory } from "./saved-state.ts";

/** Memory in pieces, which take room once something was written to them; what is not there is zeros. */
export class Pieces implements Iterable<[number, Uint8Array]> {
  /** Bytes of a piece. */
  readonly size: number;
  #pieces: Map<number, Uint8Array> = new Map();
  #written: Parameters<SavedMemory["watch"]>[0];

  constructor(size: number) {
    this.size = size;
  }

  /** How many there are. */
  get count(): number {
    return this.#pieces.size;
  }

  [Symbol.iterator](): IterableIterator<[number, Uint8Array]> {
    return this.#pieces.entries();
  }

  numbers(): IterableIterator<number> {
    return this.#pieces.keys();
  }

  has(number: number): boolean {
    return this.#pieces.has(number);
  }

  get(number: number): Uint8Array | undefined {
    return this.#pieces.get(number);
  }

  /** A piece that is about to be written. */
  write(number: number): Uint8Array {
    this.#written?.(number);
    let piece = this.#pieces.get(number);
    if (piece === undefined) {
      piece = new Uint8Array(this.size);
      this.#pieces.set(number, piece);
    }
    return piece;
  }

  /** A piece is zeros. */
  delete(number: number): void {
    if (this.#pieces.delete(number)) this.#written?.(number);
  }

  /** All are. */
  clear(): void {
    if (this.#pieces.size === 0) return;
    this.#pieces.clear();
    this.#written?.("all");
  }

  /**
   * The same as what goes with a device's state.
   * @param size bytes of all of it
   * @param region whose bytes they are
   */
  saved(size: number, region?: number): SavedMemory {
    return {
      size,
      pieceSize: this.size,
      ...(region !== undefined && { region }),
      pieces: () => this.#pieces.keys(),
      piece: (number) => this.#pieces.get(number),
      replace: (pieces) => {
        this.#pieces = pieces;
        this.#written?.("all");
      },
      watch: (written) => {
        this.#written = written;
      },
    };
  }
}
