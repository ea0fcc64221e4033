import { copyBytes } from "./copy-bytes.ts";
import { MemoryObject } from "./model-object.ts";

/**
 * Bytes that are allocated together, or one page where that is more: a copy of 64 KiB is one or two moves, not sixteen.
 */
const CHUNK_BYTES = 65536;

/**
 * Bytes behind each piece. Buffers up to 63 bytes apart modulo 4096 are copied up to twelve times slower than others on
 * some processors (`rep movsb` takes a load for one of its own last stores). With the allocator's header of 16 bytes
 * this makes the distance of two pieces a multiple of 64.
 */
const SPACING = 48;

/** Pages that lie side by side. What nobody wrote is zeros. */
class Chunk {
  readonly bytes: Uint8Array;
  /** A bit for each page that somebody wrote. */
  present = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** Private memory: zeros until written, as large as its mapping. */
export class AnonymousMemory extends MemoryObject {
  /** Whether a page that nobody wrote is zeros. */
  protected readonly absentIsZero: boolean = true;
  private readonly chunks = new Map<number, Chunk>();
  private readonly pagesPerChunk: number;
  private resident = 0;
  private readonly forgotten: { first: number; pages: number }[] = [];

  constructor(pageSize: number, device = false) {
    super(pageSize, device);
    this.pagesPerChunk = Math.max(1, CHUNK_BYTES / pageSize);
  }

  pageCount(): number {
    return Number.POSITIVE_INFINITY;
  }

  override hasPages(first: number, pages: number): boolean {
    for (let page = first; page < first + pages; page++) if (!this.hasPage(page)) return false;
    return true;
  }

  /** Pages that somebody wrote. They take memory in pieces of 64 KiB. */
  get residentPages(): number {
    return this.resident;
  }

  read(offset: number, into: Uint8Array): void {
    this.readPart(offset, into, 0, into.length);
  }

  write(offset: number, from: Uint8Array): void {
    this.writePart(offset, from, 0, from.length);
  }

  override readPart(offset: number, into: Uint8Array, at: number, count: number): void {
    const chunkBytes = this.pagesPerChunk * this.pageSize;
    let index = Math.floor(offset / chunkBytes);
    let within = offset - index * chunkBytes;
    for (let done = 0; done < count; index++, within = 0) {
      const part = Math.min(chunkBytes - within, count - done);
      const chunk = this.chunks.get(index);
      if (chunk !== undefined && (this.absentIsZero || this.isWhole(chunk, within, part))) {
        copyBytes(chunk.bytes, within, into, at + done, part);
      } else {
        this.readPages(index, within, into.subarray(at + done, at + done + part));
      }
      done += part;
    }
  }

  override writePart(offset: number, from: Uint8Array, at: number, count: number): void {
    const chunkBytes = this.pagesPerChunk * this.pageSize;
    let index = Math.floor(offset / chunkBytes);
    let within = offset - index * chunkBytes;
    for (let done = 0; done < count; index++, within = 0) {
      const part = Math.min(chunkBytes - within, count - done);
      const chunk = this.chunkAt(index);
      if (!this.isWhole(chunk, within, part)) this.materialiseAll(index, chunk, within, part);
      copyBytes(from, at + done, chunk.bytes, within, part);
      done += part;
    }
  }

  discard(first: number, pages: number): void {
    const orphan = this.heldRuns === 0 ? undefined : new AnonymousMemory(this.pageSize, this.device);
    for (const page of this.residentIn(first, pages)) {
      orphan?.write(page * this.pageSize, this.pageBytes(page)!);
      this.drop(page);
    }
    if (orphan !== undefined) this.moveHeld(first, pages, orphan);
  }

  /** The pages are dropped once nothing is held: looking for them at each munmap() would make many pins slow. */
  forget(first: number, pages: number): void {
    this.forgotten.push({ first, pages });
    this.sweep();
  }

  override letGo(): void {
    super.letGo();
    this.sweep();
  }

  clone(): MemoryObject {
    const copy = new AnonymousMemory(this.pageSize, this.device);
    this.copyPagesTo(copy);
    return copy;
  }

  protected copyPagesTo(copy: AnonymousMemory): void {
    for (const [index, { bytes, present }] of this.chunks) {
      const chunk = new Chunk(bytes.slice());
      chunk.present = present;
      copy.chunks.set(index, chunk);
    }
    copy.resident = this.resident;
  }

  protected hasPage(page: number): boolean {
    const index = Math.floor(page / this.pagesPerChunk);
    const chunk = this.chunks.get(index);
    return chunk !== undefined && (chunk.present & (1 << (page - index * this.pagesPerChunk))) !== 0;
  }

  /** The bytes of a page that somebody wrote. */
  protected pageBytes(page: number): Uint8Array | undefined {
    if (!this.hasPage(page)) return undefined;
    const index = Math.floor(page / this.pagesPerChunk);
    const start = (page - index * this.pagesPerChunk) * this.pageSize;
    return this.chunks.get(index)!.bytes.subarray(start, start + this.pageSize);
  }

  /** A page that nobody wrote. */
  protected readAbsent(_page: number, _within: number, into: Uint8Array): void {
    into.fill(0);
  }

  /** A page is about to be written for the first time. */
  protected fillPage(_page: number, _bytes: Uint8Array): void {}

  protected materialise(page: number): void {
    const index = Math.floor(page / this.pagesPerChunk);
    const chunk = this.chunkAt(index);
    const start = page - index * this.pagesPerChunk;
    this.materialiseAll(index, chunk, start * this.pageSize, this.pageSize);
  }

  private chunkAt(index: number): Chunk {
    let chunk = this.chunks.get(index);
    if (chunk === undefined) {
      const bytes = this.pagesPerChunk * this.pageSize;
      chunk = new Chunk(new Uint8Array(new ArrayBuffer(bytes + SPACING), 0, bytes));
      this.chunks.set(index, chunk);
    }
    return chunk;
  }

  /** Whether all pages that these bytes of a chunk lie in were written. */
  private isWhole({ present }: Chunk, within: number, count: number): boolean {
    const first = Math.floor(within / this.pageSize);
    const last = Math.floor((within + count - 1) / this.pageSize);
    const wanted = (2 << last) - (1 << first);
    return (present & wanted) === wanted;
  }

  private materialiseAll(index: number, chunk: Chunk, within: number, count: number): void {
    const last = Math.floor((within + count - 1) / this.pageSize);
    for (let slot = Math.floor(within / this.pageSize); slot <= last; slot++) {
      if (chunk.present & (1 << slot)) continue;
      chunk.present |= 1 << slot;
      this.resident++;
      const start = slot * this.pageSize;
      if (!this.absentIsZero) {
        this.fillPage(index * this.pagesPerChunk + slot, chunk.bytes.subarray(start, start + this.pageSize));
      }
    }
  }

  /** Bytes of one chunk, page by page. */
  private readPages(index: number, within: number, into: Uint8Array): void {
    const { pageSize } = this;
    for (let done = 0; done < into.length; ) {
      const slot = Math.floor((within + done) / pageSize);
      const inPage = within + done - slot * pageSize;
      const piece = into.subarray(done, done + Math.min(pageSize - inPage, into.length - done));
      const page = index * this.pagesPerChunk + slot;
      const bytes = this.pageBytes(page);
      if (bytes === undefined) this.readAbsent(page, inPage, piece);
      else copyBytes(bytes, inPage, piece, 0, piece.length);
      done += piece.length;
    }
  }

  private drop(page: number): void {
    const index = Math.floor(page / this.pagesPerChunk);
    const chunk = this.chunks.get(index)!;
    const slot = page - index * this.pagesPerChunk;
    chunk.present &= ~(1 << slot);
    this.resident--;
    if (chunk.present === 0) this.chunks.delete(index);
    else chunk.bytes.fill(0, slot * this.pageSize, (slot + 1) * this.pageSize);
  }

  private sweep(): void {
    if (this.heldRuns > 0 || this.forgotten.length === 0) return;
    for (const { first, pages } of this.forgotten) for (const page of this.residentIn(first, pages)) this.drop(page);
    this.forgotten.length = 0;
  }

  /** The pages of a range that somebody wrote, in no order. */
  private residentIn(first: number, pages: number): number[] {
    const { pagesPerChunk, chunks } = this;
    const from = Math.floor(first / pagesPerChunk);
    const to = Math.ceil((first + pages) / pagesPerChunk);
    const few = to - from < chunks.size;
    const indexes = few ? Array.from({ length: to - from }, (_, i) => from + i) : [...chunks.keys()];
    const found: number[] = [];
    for (const index of indexes) {
      const start = Math.max(first, index * pagesPerChunk);
      const end = Math.min(first + pages, (index + 1) * pagesPerChunk);
      for (let page = start; page < end; page++) if (this.hasPage(page)) found.push(page);
    }
    return found;
  }
}
