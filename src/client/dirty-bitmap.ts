const BITS = 8;
/** In a big-endian word of 64 bits the first byte is the last. */
const LAST_OF_WORD = 7;

/** Which pages of a range were written: the answer to VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP. */
export class DirtyBitmap {
  /** The range's begin, in bytes. */
  readonly iova: bigint;
  /** Its length in bytes. */
  readonly size: bigint;
  /** Bytes that one bit stands for. */
  readonly pageSize: bigint;
  /** The bitmap as the kernel wrote it: bit n % 64 of the 64-bit word n / 64 is page n of the range. */
  readonly bytes: Uint8Array;
  /** The byte order of those words. */
  readonly littleEndian: boolean;

  /** Of the bytes that a kernel wrote. */
  constructor(iova: bigint, size: bigint, pageSize: bigint, bytes: Uint8Array, littleEndian = true) {
    this.iova = iova;
    this.size = size;
    this.pageSize = pageSize;
    this.bytes = bytes;
    this.littleEndian = littleEndian;
  }

  /** Bytes of a bitmap for a range: whole 64-bit words, as the kernel wants it. */
  static bytesFor(size: bigint, pageSize: bigint): number {
    const pages = (size + pageSize - 1n) / pageSize;
    return Number((pages + 63n) / 64n) * 8;
  }

  /** Whether the page with this address is dirty. */
  isDirty(iova: bigint): boolean {
    const page = Number((iova - this.iova) / this.pageSize);
    return (this.byte(Math.floor(page / BITS)) & (1 << (page % BITS))) !== 0;
  }

  /** Addresses of the dirty pages, ascending. */
  *dirtyPages(): Generator<bigint> {
    const pages = Number((this.size + this.pageSize - 1n) / this.pageSize);
    for (let byte = 0; byte * BITS < pages; byte++) {
      if (this.byte(byte) === 0) continue;
      for (let page = byte * BITS; page < Math.min(pages, (byte + 1) * BITS); page++) {
        const iova = this.iova + BigInt(page) * this.pageSize;
        if (this.isDirty(iova)) yield iova;
      }
    }
  }

  /** Pages 8 * index and up. */
  private byte(index: number): number {
    return this.bytes[this.littleEndian ? index : index ^ LAST_OF_WORD] ?? 0;
  }
}
