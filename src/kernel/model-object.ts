let nextIdentity = 0;

/** Who holds pages of an object. */
export interface PageHolder {
  /** What it holds of a range is another object's from now on, at the same page numbers. */
  move(from: MemoryObject, first: number, pages: number, to: MemoryObject): void;
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
  /** How many runs of its pages are held: PinTable counts. */
  heldRuns = 0;
  /** Who holds them, or did. */
  private readonly holders: PageHolder[] = [];

  private identity: number | undefined;

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

  /** What tells a page from all others (AddressSpace.pageIdentity). */
  pageIdentity(page: number): string {
    this.identity ??= nextIdentity++;
    return `${this.identity}:${page}`;
  }

  /** A run of its pages is held from now on. */
  hold(_first: number, _pages: number): void {
    this.heldRuns++;
  }

  /** Who has pins of it: whom moveHeld() tells. */
  heldBy(holder: PageHolder): void {
    if (!this.holders.includes(holder)) this.holders.push(holder);
  }

  letGo(): void {
    this.heldRuns--;
  }

  /** Fills `into[at..at + count)`, as read() does. */
  readPart(offset: number, into: Uint8Array, at: number, count: number): void {
    this.read(offset, at === 0 && count === into.length ? into : into.subarray(at, at + count));
  }

  /** Writes `from[at..at + count)`, as write() does. */
  writePart(offset: number, from: Uint8Array, at: number, count: number): void {
    this.write(offset, at === 0 && count === from.length ? from : from.subarray(at, at + count));
  }

  /** Gives the held part of a range to another object, at the same page numbers. */
  protected moveHeld(first: number, pages: number, to: MemoryObject): void {
    for (const holder of this.holders) holder.move(this, first, pages, to);
  }
}
