/** Pages of one piece of a bitmap, which is allocated as a whole. */
const PIECE_PAGES = 32768;
const WORD_BITS = 32;

/**
 * Which pages devices wrote while somebody was told to look: an IOMMU, which notes it in one page table's entries
 * (iommu_dirty_ops), or the device itself. An entry stands for a page of the smallest size: that is how fine a kernel
 * tells it where memory lies scattered, or with IOMMU_OPTION_HUGE_PAGES off.
 */
export class DirtyPages {
  /** Whether writes are noted now (SSADE in VT-d's PASID entry, HAD in AMD's device table entry). */
  isTracking = false;
  readonly #shift: bigint;
  readonly #pieces = new Map<number, Uint32Array>();

  /** @param pageSize of the table's smallest pages, bytes, a power of two */
  constructor(pageSize: bigint) {
    this.#shift = BigInt(pageSize.toString(2).length - 1);
  }

  /** A device wrote `length` bytes. */
  written(iova: bigint, length: number): void {
    if (!this.isTracking || length === 0) return;
    const last = this.pageOf(iova + BigInt(length - 1));
    for (let page = this.pageOf(iova); page <= last; page++) {
      const index = Math.floor(page / PIECE_PAGES);
      let piece = this.#pieces.get(index);
      if (!piece) {
        piece = new Uint32Array(PIECE_PAGES / WORD_BITS);
        this.#pieces.set(index, piece);
      }
      const bit = page - index * PIECE_PAGES;
      piece[bit >>> 5]! |= 1 << (bit & 31);
    }
  }

  /** Tells the numbers of dirty pages in a range, rising. Inclusive bytes. */
  each(start: bigint, last: bigint, tell: (page: number) => void): void {
    const first = this.pageOf(start);
    const end = this.pageOf(last);
    for (const index of this.#piecesIn(first, end)) {
      const piece = this.#pieces.get(index)!;
      for (let word = 0; word < piece.length; word++) {
        for (let bits = piece[word]!; bits !== 0; bits &= bits - 1) {
          const page = index * PIECE_PAGES + word * WORD_BITS + (31 - Math.clz32(bits & -bits));
          if (page >= first && page <= end) tell(page);
        }
      }
    }
  }

  /** The number of the page that an address is in. */
  pageOf(iova: bigint): number {
    return Number(iova >> this.#shift);
  }

  /** The pages of a range are clean: they were reported, or their entries are gone. Inclusive bytes. */
  clear(start: bigint, last: bigint): void {
    const first = this.pageOf(start);
    const end = this.pageOf(last);
    for (const index of this.#piecesIn(first, end)) {
      const from = Math.max(0, first - index * PIECE_PAGES);
      const to = Math.min(PIECE_PAGES - 1, end - index * PIECE_PAGES);
      if (from === 0 && to === PIECE_PAGES - 1) this.#pieces.delete(index);
      else clearBits(this.#pieces.get(index)!, from, to);
    }
  }

  #piecesIn(firstPage: number, lastPage: number): number[] {
    const first = Math.floor(firstPage / PIECE_PAGES);
    const last = Math.floor(lastPage / PIECE_PAGES);
    // as a rule a range is one mapping, of few pieces
    if (last - first < this.#pieces.size) {
      const indexes = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      return indexes.filter((index) => this.#pieces.has(index));
    }
    return [...this.#pieces.keys()].filter((index) => index >= first && index <= last).sort((a, b) => a - b);
  }
}

function clearBits(words: Uint32Array, from: number, to: number): void {
  for (let bit = from; bit <= to; ) {
    if ((bit & 31) === 0 && bit + 31 <= to) {
      words[bit >>> 5] = 0;
      bit += WORD_BITS;
    } else {
      words[bit >>> 5]! &= ~(1 << (bit & 31));
      bit++;
    }
  }
}
