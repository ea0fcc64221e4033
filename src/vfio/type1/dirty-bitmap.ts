/** 32-bit words of one piece of a bitmap that is allocated as a whole: the pages of 512 MiB, when they are of 4 KiB. */
export const PIECE_WORDS = 4096;
const PIECE_BITS = PIECE_WORDS * 32;
const ALL_SET = 0xffffffff;

/**
 * The dirty pages of one mapping (vfio_dma.bitmap). Only pieces with a bit set take memory.
 *
 * Behind its last bit the kernel's bitmap has up to 127 spare bits that it shifts into and never clears
 * (vfio_iommu_type1.c:update_user_bitmap shifts in place, vfio_iova_dirty_bitmap clears only the mapping's own bits),
 * so that a later call reports dirt beyond the mapping. A program sees that, so the spare bits are kept here too.
 */
export class DirtyBitmap {
  readonly bits: number;
  #all = false;
  #pieces: Map<number, Uint32Array> | undefined;
  /** Bits from position `bits` on, as one number. */
  #spare = 0n;

  constructor(bits: number) {
    this.bits = bits;
  }

  /** Bytes that the bits take. */
  get bytes(): number {
    let bytes = 0;
    for (const piece of this.#pieces?.values() ?? []) bytes += piece.byteLength;
    return bytes;
  }

  set(from: number, count: number): void {
    if (this.#all) return;
    if (from === 0 && count >= this.bits) {
      this.#all = true;
      this.#pieces = undefined;
      return;
    }
    const end = from + count;
    for (let bit = from; bit < end; ) {
      const index = Math.floor(bit / PIECE_BITS);
      const start = index * PIECE_BITS;
      const stop = Math.min(end - start, PIECE_BITS);
      setBits(this.#piece(index), bit - start, stop);
      bit = start + stop;
    }
  }

  /** Clears the mapping's own bits; the spare ones stay. */
  clear(): void {
    this.#all = false;
    this.#pieces = undefined;
  }

  /** Number of 64-bit words that hold the bits when they are moved up by `shift` (0..63). */
  words64(shift: number): number {
    return Math.ceil((this.bits + shift) / 64);
  }

  /**
   * The words [index * PIECE_WORDS, (index + 1) * PIECE_WORDS) where they are, to be read at once; undefined when they
   * must be put together (readShifted), because not all of them are the mapping's own or nothing keeps them.
   */
  wholePiece(index: number): Uint32Array | undefined {
    const piece = this.#all ? undefined : this.#pieces?.get(index);
    return piece !== undefined && (index + 1) * PIECE_BITS <= this.bits ? piece : undefined;
  }

  /**
   * The bits moved up by `shift`, as the little-endian words from `first` on that fill `out`; the lowest `shift` bits
   * are 0. Bits behind the last come from the spare ones.
   */
  readShifted(shift: number, first: number, out: Uint32Array): void {
    const moved = shift >>> 5;
    const bits = shift & 31;
    const wholeWords = Math.floor(this.bits / 32);
    for (let i = 0; i < out.length; ) {
      const at = first + i - moved;
      const end = at < 0 ? at : Math.min(wholeWords, (Math.floor(at / PIECE_WORDS) + 1) * PIECE_WORDS);
      const count = Math.min(out.length - i, end - at);
      if (count > 0) {
        this.#readPiece(at, count, bits, out, i);
        i += count;
      } else {
        const low = this.#word(at);
        out[i++] = bits === 0 ? low : (low << bits) | (this.#word(at - 1) >>> (32 - bits));
      }
    }
  }

  /** readShifted() for words that lie in one piece and before the bitmap's end. */
  #readPiece(at: number, count: number, bits: number, out: Uint32Array, to: number): void {
    // what the word below moves up
    let carry = bits === 0 ? 0 : this.#word(at - 1) >>> (32 - bits);
    const piece = this.#all ? undefined : this.#pieces?.get(Math.floor(at / PIECE_WORDS));
    if (piece === undefined) {
      const word = this.#all ? ALL_SET : 0;
      out.fill(word, to, to + count);
      out[to] = (word << bits) | carry;
      return;
    }
    const from = at % PIECE_WORDS;
    if (bits === 0) {
      out.set(piece.subarray(from, from + count), to);
      return;
    }
    for (let i = 0; i < count; i++) {
      const word = piece[from + i]!;
      out[to + i] = (word << bits) | carry;
      carry = word >>> (32 - bits);
    }
  }

  /**
   * What is left in the spare bits after the kernel has moved the bitmap up by `shift` and OR-ed `firstWord` into its
   * first 64 bits.
   */
  keepSpare(shift: number, firstWord: bigint): void {
    const spareBits = 64 * (Math.ceil(this.bits / 64) + 1) - this.bits;
    const moved = 64 * this.words64(shift) - this.bits;
    let spare = this.#spare;
    for (let i = 0; i < Math.min(moved, spareBits); i++) {
      const from = this.bits + i - shift;
      const set = from >= this.bits ? (this.#spare >> BigInt(from - this.bits)) & 1n : BigInt(this.#bit(from));
      const orred = this.bits + i < 64 ? (firstWord >> BigInt(this.bits + i)) & 1n : 0n;
      const mask = 1n << BigInt(i);
      spare = set | orred ? spare | mask : spare & ~mask;
    }
    this.#spare = spare;
  }

  #piece(index: number): Uint32Array {
    this.#pieces ??= new Map();
    let piece = this.#pieces.get(index);
    if (piece === undefined) {
      piece = new Uint32Array(Math.min(PIECE_WORDS, Math.ceil(this.bits / 32) - index * PIECE_WORDS));
      this.#pieces.set(index, piece);
    }
    return piece;
  }

  #bit(at: number): number {
    return at < 0 ? 0 : (this.#word(at >>> 5) >>> (at & 31)) & 1;
  }

  /** 32 bits of the bitmap, with the spare bits behind the last. */
  #word(index: number): number {
    if (index < 0) return 0;
    const from = index * 32;
    let word = 0;
    if (from < this.bits) {
      word = this.#all ? ALL_SET : (this.#pieces?.get(Math.floor(from / PIECE_BITS))?.[(from % PIECE_BITS) >>> 5] ?? 0);
      if (from + 32 <= this.bits) return word >>> 0;
      const own = this.bits - from;
      word &= 2 ** own - 1;
      return (word | (Number(this.#spare & 0xffffffffn) << own)) >>> 0;
    }
    return Number((this.#spare >> BigInt(from - this.bits)) & 0xffffffffn);
  }
}

/** Sets the bits [from, to) of a piece. */
function setBits(piece: Uint32Array, from: number, to: number): void {
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  const head = (ALL_SET << (from & 31)) >>> 0;
  const tail = ALL_SET >>> (31 - ((to - 1) & 31));
  if (first === last) {
    piece[first]! |= head & tail;
    return;
  }
  piece[first]! |= head;
  piece.fill(ALL_SET, first + 1, last);
  piece[last]! |= tail;
}
