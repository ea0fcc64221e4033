import { fail } from "./errors.ts";

/** Pages of one object that are held for DMA: a part of a pin. */
export interface HeldRun {
  object: MemoryObject;
  /** Page of the object. */
  first: number;
  pages: number;
  /** Pages of the pin that lie before this run. */
  at: number;
}

/** What pin() made: runs in the order of their addresses. */
export interface Pin {
  runs: HeldRun[];
}

/**
 * What a mapping shows: bytes by offset, in pages that exist only once something was written to them. Mappings come and
 * go; a pin keeps the object, so what a device reaches stays the same pages whatever happens to the addresses.
 */
export abstract class MemoryObject {
  readonly pageSize: number;
  /** Memory of a device: it can be held for DMA, but does not count as locked memory. */
  readonly device: boolean;
  /** log2 of the bytes of the huge pages that it consists of; 0 for ordinary ones. */
  hugePageShift = 0;
  /** What is held, with the pin that holds it. */
  protected readonly held = new Map<HeldRun, Pin>();

  constructor(pageSize: number, device = false) {
    this.pageSize = pageSize;
    this.device = device;
  }

  /** How many pages there are; touching one behind them is a bus error, EFAULT for the kernel. */
  abstract pageCount(): number;

  /** Whether all these pages exist already, so that a program has touched them. */
  hasPages(_first: number, _pages: number): boolean {
    return false;
  }

  /** Fills `into` from the bytes at `offset`. The caller keeps to the pages that there are. */
  abstract read(offset: number, into: Uint8Array): void;

  abstract write(offset: number, from: Uint8Array): void;

  /** Lets pages go: who looks again finds zeros. What is held stays with its holder. */
  abstract discard(first: number, pages: number): void;

  /** Nothing will lead to these pages any more but pins. */
  abstract forget(first: number, pages: number): void;

  /** A copy for a forked process, to which this object is private. */
  abstract clone(): MemoryObject;

  hold(run: HeldRun, pin: Pin): void {
    this.held.set(run, pin);
  }

  letGo(run: HeldRun): void {
    this.held.delete(run);
  }

  /** Gives the held part of a range to another object, at the same page numbers. */
  protected moveHeld(first: number, pages: number, to: MemoryObject): void {
    for (const [run, pin] of [...this.held]) {
      const from = Math.max(run.first, first);
      const end = Math.min(run.first + run.pages, first + pages);
      if (from >= end) continue;
      const part = (object: MemoryObject, start: number, stop: number): HeldRun => ({
        object,
        first: start,
        pages: stop - start,
        at: run.at + start - run.first,
      });
      const parts = [part(this, run.first, from), part(to, from, end), part(this, end, run.first + run.pages)];
      const kept = parts.filter((piece) => piece.pages > 0);
      this.held.delete(run);
      for (const piece of kept) piece.object.hold(piece, pin);
      pin.runs.splice(pin.runs.indexOf(run), 1, ...kept);
    }
  }
}

/** Private memory: zeros until written, as large as its mapping. */
export class AnonymousMemory extends MemoryObject {
  protected readonly pages = new Map<number, Uint8Array>();
  private readonly forgotten: { first: number; pages: number }[] = [];

  pageCount(): number {
    return Number.POSITIVE_INFINITY;
  }

  override hasPages(first: number, pages: number): boolean {
    for (let page = first; page < first + pages; page++) if (!this.pages.has(page)) return false;
    return true;
  }

  /** Pages that really take memory. */
  get residentPages(): number {
    return this.pages.size;
  }

  read(offset: number, into: Uint8Array): void {
    const { pageSize, pages } = this;
    let page = Math.floor(offset / pageSize);
    let within = offset - page * pageSize;
    for (let done = 0; done < into.length; page++, within = 0) {
      const count = Math.min(pageSize - within, into.length - done);
      const bytes = pages.get(page);
      if (bytes === undefined) this.readAbsent(page, within, into.subarray(done, done + count));
      else into.set(count === pageSize ? bytes : bytes.subarray(within, within + count), done);
      done += count;
    }
  }

  write(offset: number, from: Uint8Array): void {
    const { pageSize, pages } = this;
    let page = Math.floor(offset / pageSize);
    let within = offset - page * pageSize;
    for (let done = 0; done < from.length; page++, within = 0) {
      const count = Math.min(pageSize - within, from.length - done);
      const bytes = pages.get(page) ?? this.materialise(page);
      bytes.set(from.subarray(done, done + count), within);
      done += count;
    }
  }

  discard(first: number, pages: number): void {
    const orphan = this.held.size === 0 ? undefined : new AnonymousMemory(this.pageSize, this.device);
    for (const page of this.resident(first, pages)) {
      orphan?.pages.set(page, this.pages.get(page)!);
      this.pages.delete(page);
    }
    if (orphan !== undefined) this.moveHeld(first, pages, orphan);
  }

  /** The pages are dropped once nothing is held: looking for them at each munmap() would make many pins slow. */
  forget(first: number, pages: number): void {
    this.forgotten.push({ first, pages });
    this.sweep();
  }

  override letGo(run: HeldRun): void {
    super.letGo(run);
    this.sweep();
  }

  clone(): MemoryObject {
    const copy = new AnonymousMemory(this.pageSize, this.device);
    for (const [page, bytes] of this.pages) copy.pages.set(page, bytes.slice());
    return copy;
  }

  /** A page that nobody wrote. */
  protected readAbsent(_page: number, _within: number, into: Uint8Array): void {
    into.fill(0);
  }

  protected materialise(page: number): Uint8Array {
    const bytes = new Uint8Array(this.pageSize);
    this.pages.set(page, bytes);
    return bytes;
  }

  private sweep(): void {
    if (this.held.size > 0) return;
    for (const { first, pages } of this.forgotten) {
      for (const page of this.resident(first, pages)) this.pages.delete(page);
    }
    this.forgotten.length = 0;
  }

  private resident(first: number, pages: number): number[] {
    if (pages < this.pages.size) {
      return Array.from({ length: pages }, (_, i) => first + i).filter((page) => this.pages.has(page));
    }
    return [...this.pages.keys()].filter((page) => page >= first && page < first + pages);
  }
}

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
      if (tail !== 0) this.pages.get(keep - 1)?.fill(0, tail);
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
  override hold(run: HeldRun, pin: Pin): void {
    for (let page = run.first; page < run.first + run.pages; page++) {
      if (!this.pages.has(page)) this.materialise(page);
    }
    super.hold(run, pin);
  }

  override clone(): MemoryObject {
    const copy = new PrivateCopy(this.source, this.firstOfSource);
    for (const [page, bytes] of this.pages) copy.pages.set(page, bytes.slice());
    return copy;
  }

  protected override readAbsent(page: number, within: number, into: Uint8Array): void {
    this.source.read((page + this.firstOfSource) * this.pageSize + within, into);
  }

  protected override materialise(page: number): Uint8Array {
    const bytes = super.materialise(page);
    this.source.read((page + this.firstOfSource) * this.pageSize, bytes);
    return bytes;
  }
}

/** Memory in one piece that JavaScript looks at too, so that a program can use it like a buffer. */
export class FlatMemory extends MemoryObject {
  readonly bytes: Uint8Array;

  constructor(pageSize: number, bytes: Uint8Array) {
    if (bytes.length % pageSize !== 0) fail("EINVAL", `${bytes.length} bytes are not whole pages of ${pageSize}`);
    super(pageSize);
    this.bytes = bytes;
  }

  pageCount(): number {
    return this.bytes.length / this.pageSize;
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    this.bytes.set(from, offset);
  }

  discard(first: number, pages: number): void {
    const range = this.bytes.subarray(first * this.pageSize, (first + pages) * this.pageSize);
    if (this.held.size > 0) {
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
