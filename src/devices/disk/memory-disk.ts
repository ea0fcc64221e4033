import { Pieces } from "../pieces.ts";
import type { SavedMemory } from "../saved-state.ts";
import { type Disk, PIECE } from "./disk.ts";

/** A disk of memory, gone with the host. It takes memory where something was written that is not zero. */
export class MemoryDisk implements Disk {
  readonly size: number;
  readonly isReadOnly = false;
  readonly #pieces = new Pieces(PIECE);
  /** Its content goes with the state of its device. */
  readonly memory: SavedMemory;

  /** @param size bytes */
  constructor(size: number) {
    this.size = size;
    this.memory = this.#pieces.saved(size);
  }

  read(offset: number, into: Uint8Array): void {
    for (const { number, within, done, count } of piecesOf(offset, into.length)) {
      const piece = this.#pieces.get(number);
      if (piece) into.set(piece.subarray(within, within + count), done);
      else into.fill(0, done, done + count);
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (const { number, within, done, count } of piecesOf(offset, from.length)) {
      this.#pieces.write(number).set(from.subarray(done, done + count), within);
    }
  }

  zero(offset: number, length: number): void {
    for (const { number, within, count } of piecesOf(offset, length)) {
      if (count === PIECE) this.#pieces.delete(number);
      else if (this.#pieces.has(number)) this.#pieces.write(number).fill(0, within, within + count);
    }
  }

  nextData(offset: number, end: number): number {
    const first = Math.floor(offset / PIECE);
    if (this.#pieces.has(first)) return offset;
    let next = Math.ceil(end / PIECE);
    // as many steps as there are pieces of one kind or the other, whichever is less
    if (next - first < this.#pieces.count) {
      for (let number = first + 1; number < next; number++) if (this.#pieces.has(number)) next = number;
    } else {
      for (const number of this.#pieces.numbers()) if (number > first && number < next) next = number;
    }
    return Math.min(next * PIECE, end);
  }

  flush(done: (worked: boolean) => void): void {
    done(true);
  }
}

function* piecesOf(offset: number, length: number) {
  for (let done = 0; done < length; ) {
    const at = offset + done;
    const number = Math.floor(at / PIECE);
    const within = at - number * PIECE;
    const count = Math.min(PIECE - within, length - done);
    yield { number, within, done, count };
    done += count;
  }
}
