import { copyBytes } from "./copy-bytes.ts";
import { fail } from "./errors.ts";
import { AnonymousMemory } from "./model-anonymous.ts";
import { MemoryObject } from "./model-object.ts";

export { AnonymousMemory, MemoryObject };

/** Memory that has a size and can be mapped in several places: memfd, shared memory, a file. */
export class MemoryFile extends AnonymousMemory {
  private bytes: number;

  constructor(pageSize: number, size: number, device = false) {
    super(pageSize, device);
    this.bytes = size;
  }

  get size(): number {
    return this.bytes;
  }

  override pageCount(): number {
    return Math.ceil(this.bytes / this.pageSize);
  }

  /** ftruncate(): what was behind a new end is gone, also when the file grows again. */
  truncate(size: number): void {
    const { pageSize } = this;
    if (size < this.bytes) {
      const keep = Math.ceil(size / pageSize);
      this.discard(keep, this.pageCount() - keep);
      const tail = size % pageSize;
      if (tail !== 0) this.pageBytes(keep - 1)?.fill(0, tail);
    }
    this.bytes = size;
  }

  /** Other mappings, and whoever has the file open, still lead there. */
  override forget(): void {}

  /** Shared: a fork sees the same. */
  override clone(): MemoryObject {
    return this;
  }
}

/** A private mapping of a file: shows the file's pages until one is written. */
export class PrivateCopy extends AnonymousMemory {
  protected override readonly absentIsZero = false;
  private readonly source: MemoryObject;
  private readonly firstOfSource: number;

  constructor(source: MemoryObject, firstOfSource: number) {
    super(source.pageSize);
    this.source = source;
    this.firstOfSource = firstOfSource;
  }

  override pageCount(): number {
    return this.source.pageCount() - this.firstOfSource;
  }

  /** A page that is held becomes the mapping's own first (FAULT_FLAG_UNSHARE since 6.2). */
  override hold(first: number, pages: number): void {
    for (let page = first; page < first + pages; page++) if (!this.hasPage(page)) this.materialise(page);
    super.hold(first, pages);
  }

  override clone(): MemoryObject {
    const copy = new PrivateCopy(this.source, this.firstOfSource);
    this.copyPagesTo(copy);
    return copy;
  }

  protected override readAbsent(page: number, within: number, into: Uint8Array): void {
    this.source.read((page + this.firstOfSource) * this.pageSize + within, into);
  }

  protected override fillPage(page: number, bytes: Uint8Array): void {
    this.source.read((page + this.firstOfSource) * this.pageSize, bytes);
  }
}

/** Memory in one piece that JavaScript looks at too, so that a program can use it like a buffer. */
export class FlatMemory extends MemoryObject {
  readonly bytes: Uint8Array;
  /** The same as words, where the buffer allows that. */
  readonly words: Int32Array | undefined;

  constructor(pageSize: number, bytes: Uint8Array) {
    if (bytes.length % pageSize !== 0) fail("EINVAL", `${bytes.length} bytes are not whole pages of ${pageSize}`);
    super(pageSize);
    this.bytes = bytes;
    const { buffer, byteOffset, length } = bytes;
    if (byteOffset % 4 === 0) this.words = new Int32Array(buffer, byteOffset, length / 4);
  }

  pageCount(): number {
    return this.bytes.length / this.pageSize;
  }

  read(offset: number, into: Uint8Array): void {
    copyBytes(this.bytes, offset, into, 0, into.length);
  }

  write(offset: number, from: Uint8Array): void {
    copyBytes(from, 0, this.bytes, offset, from.length);
  }

  override readPart(offset: number, into: Uint8Array, at: number, count: number): void {
    copyBytes(this.bytes, offset, into, at, count);
  }

  override writePart(offset: number, from: Uint8Array, at: number, count: number): void {
    copyBytes(from, at, this.bytes, offset, count);
  }

  discard(first: number, pages: number): void {
    const range = this.bytes.subarray(first * this.pageSize, (first + pages) * this.pageSize);
    if (this.heldRuns > 0) {
      const orphan = new AnonymousMemory(this.pageSize);
      orphan.write(first * this.pageSize, range);
      this.moveHeld(first, pages, orphan);
    }
    range.fill(0);
  }

  /** The buffer goes when JavaScript drops it. */
  forget(): void {}

  clone(): MemoryObject {
    return new FlatMemory(this.pageSize, this.bytes.slice());
  }
}
