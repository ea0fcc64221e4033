import { KernelError } from "../kernel/errors.ts";
import type { Task } from "../kernel/task.ts";

/** Bytes of a caller's bitmap that are worked on together. */
const PIECE = 4096;

/** The part of a piece that has new bits. */
interface Piece {
  readonly bytes: Uint8Array;
  first: number;
  last: number;
}

/** A bitmap in a caller's memory, into which bits are set and in which none are cleared (struct iova_bitmap). */
export class UserBitmap {
  readonly #task: Task;
  /** Undefined for an address that no program has. */
  readonly #address: number | undefined;
  readonly #pieces = new Map<number, Piece>();
  #piece: Piece | undefined;
  #pieceIndex = -1;

  /** Where a byte of the bitmap lies in its word: in a big-endian one the first is the last. */
  readonly #swap: number;

  /** @param address of the byte that bit 0 is in */
  constructor(task: Task, address: bigint) {
    this.#task = task;
    this.#swap = task.memory.littleEndian ? 0 : 7;
    this.#address = address <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(address) : undefined;
  }

  /** Sets `count` bits from `first` on. */
  set(first: number, count: number): void {
    for (let bit = first; bit < first + count; bit++) {
      const at = (this.#address ?? 0) + Math.floor(bit / 8);
      const piece = this.#pieceOf(Math.floor(at / PIECE));
      // the bitmap consists of 64-bit words, in a page (iova_bitmap_set: bitmap_set)
      const byte = (at % PIECE) ^ this.#swap;
      piece.bytes[byte]! |= 1 << (bit % 8);
      if (byte < piece.first) piece.first = byte;
      if (byte > piece.last) piece.last = byte;
    }
  }

  /** Writes what was set. Returns whether all of it could be; what can be written is. */
  write(): boolean {
    if (this.#address === undefined) return this.#pieces.size === 0;
    let isWritten = true;
    for (const [index, { bytes, first, last }] of this.#pieces) {
      if (!this.#or(index * PIECE + first, bytes.subarray(first, last + 1))) isWritten = false;
    }
    return isWritten;
  }

  #pieceOf(index: number): Piece {
    if (index === this.#pieceIndex) return this.#piece!;
    const piece = this.#pieces.get(index) ?? { bytes: new Uint8Array(PIECE), first: PIECE, last: 0 };
    this.#pieces.set(index, piece);
    this.#piece = piece;
    this.#pieceIndex = index;
    return piece;
  }

  #or(address: number, bits: Uint8Array): boolean {
    const { memory } = this.#task;
    const bytes = new Uint8Array(bits.length);
    try {
      memory.copyIn(address, bytes, bytes.length);
      for (let i = 0; i < bits.length; i++) bytes[i]! |= bits[i]!;
      memory.copyOut(address, bytes, bytes.length);
      return true;
    } catch (error) {
      if (error instanceof KernelError && error.code === "EFAULT") return false;
      throw error;
    }
  }
}
