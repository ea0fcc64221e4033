import { type Disk, PIECE } from "./disk.ts";

/** A disk of memory, gone with the host. It takes memory where something was written that is not zero. */
export class MemoryDisk implements Disk {
  readonly size: number;
  readonly isReadOnly = false;
  readonly #pieces = new Map<number, Uint8Array>();

  /** @param size bytes */
  constructor(size: number) {
    this.size = size;
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
      let piece = this.#pieces.get(number);
      if (piece === undefined) {
        piece = new Uint8Array(PIECE);
        this.#pieces.set(number, piece);
      }
      piece.set(from.subarray(done, done + count), within);
    }
  }

  zero(offset: number, length: number): void {
    for (const { number, within, count } of piecesOf(offset, length)) {
      if (count === PIECE) this.#pieces.delete(number);
      else this.#pieces.get(number)?.fill(0, within, within + count);
    }
  }

  nextData(offset: number, end: number): number {
    const first = Math.floor(offset / PIECE);
    if (this.#pieces.has(first)) return offset;
    let next = Math.ceil(end / PIECE);
    // as many steps as there are pieces of one kind or the other, whichever is less
    if (next - first < this.#pieces.size) {
      for (let number = first + 1; number < next; number++) if (this.#pieces.has(number)) next = number;
    } else {
      for (const number of this.#pieces.keys()) if (number > first && number < next) next = number;
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
