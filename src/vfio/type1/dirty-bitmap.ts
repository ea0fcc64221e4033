/** Bits of one piece of a bitmap that is allocated as a whole. */
const PIECE_BITS = 32768;
const PIECE_WORDS = PIECE_BITS / 32;

/**
 * The dirty pages of one mapping (vfio_dma.bitmap). Only pieces with a bit set take memory.
 *
 * Behind its last bit the kernel's bitmap has up to 127 spare bits that it shifts into and never clears
 * (vfio_iommu_type1.c:update_user_bitmap shifts in place, vfio_iova_dirty_bitmap clears only the mapping's own bits), so
 * that a later call reports dirt beyond the mapping. A program sees that, so the spare bits are kept here too.
 */
export class DirtyBitmap {
  readonly bits: number;
  #all = false;
  readonly #pieces = new Map<number, Uint32Array>();
  /** Bits from position `bits` on, as one number. */
  #spare = 0n;

  constructor(bits: number) {
    this.bits = bits;
  }

  set(from: number, count: number): void {
    if (from === 0 && count >= this.bits) {
      this.#all = true;
      return;
    }
    for (let bit = from; bit < from + count; bit++) {
      const piece = this.#piece(Math.floor(bit / PIECE_BITS));
      const inside = bit % PIECE_BITS;
      piece[inside >>> 5]! |= 1 << (inside & 31);
    }
  }

  /** Clears the mapping's own bits; the spare ones stay. */
  clear(): void {
    this.#all = false;
    this.#pieces.clear();
  }

  /** Number of 64-bit words that hold the bits when they are moved up by `shift` (0..63). */
  words64(shift: number): number {
    return Math.ceil((this.bits + shift) / 64);
  }

  /**
   * The bits moved up by `shift`, as the little-endian words from `first` on that fill `out`; the lowest `shift` bits are 0.
   * Bits behind the last come from the spare ones.
   */
  readShifted(shift: number, first: number, out: Uint32Array): void {
    const words = shift >>> 5;
    const bits = shift & 31;
    for (let i = 0; i < out.length; i++) {
      const at = first + i - words;
      const low = this.#word(at);
      out[i] = bits === 0 ? low : (low << bits) | (this.#word(at - 1) >>> (32 - bits));
    }
  }

  /** What is left in the spare bits after the kernel has moved the bitmap up by `shift` and OR-ed `firstWord` into its first 64 bits. */
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
    const piece = this.#pieces.get(index) ?? new Uint32Array(PIECE_WORDS);
    this.#pieces.set(index, piece);
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
      word = this.#all
        ? 0xffffffff
        : (this.#pieces.get(Math.floor(from / PIECE_BITS))?.[(from % PIECE_BITS) >>> 5] ?? 0);
      if (from + 32 <= this.bits) return word >>> 0;
      const own = this.bits - from;
      word &= 2 ** own - 1;
      return (word | (Number(this.#spare & 0xffffffffn) << own)) >>> 0;
    }
    return Number((this.#spare >> BigInt(from - this.bits)) & 0xffffffffn);
  }
}
