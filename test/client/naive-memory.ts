import { fail } from "../../src/kernel/errors.ts";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ERRNO } from "../../src/uapi/errno.ts";

/** A page is an object: whoever has it sees the same bytes. */
interface Page {
  bytes: Uint8Array;
}

interface Entry {
  protection: number;
  shared: boolean;
  /** The page itself, unless the file decides. */
  own?: Page;
  /** Which page of the file shows here while there is no own one. */
  filePage?: number;
}

/** What a program's memory does, written as plainly as can be: every page and every byte on its own. There is one file. */
export class NaiveMemory {
  private readonly pageSize: number;
  private readonly entries = new Map<number, Entry>();
  private file: { pages: Page[]; size: number } = { pages: [], size: 0 };
  private readonly pins = new Map<number, Page[]>();
  private nextPin = 0;

  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  map(page: number, count: number, protection: number, shared: boolean, filePage?: number): void {
    for (let i = 0; i < count; i++) {
      const entry = filePage === undefined ? { own: this.zeros() } : { filePage: filePage + i };
      this.entries.set(page + i, { protection, shared, ...entry });
    }
  }

  unmap(page: number, count: number): void {
    for (let i = 0; i < count; i++) this.entries.delete(page + i);
  }

  protect(page: number, count: number, protection: number): void {
    for (let i = 0; i < count; i++) {
      const entry = this.entries.get(page + i) ?? fail("ENOMEM", "hole");
      entry.protection = protection;
    }
  }

  discard(page: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const entry = this.entries.get(page + i);
      if (entry === undefined || entry.shared) continue;
      if (entry.filePage === undefined) entry.own = this.zeros();
      else delete entry.own;
    }
  }

  truncate(size: number): void {
    const { file } = this;
    const pages = Math.ceil(size / this.pageSize);
    const old = file.pages.splice(pages);
    // What is cut off leaves the file, whoever holds it; a page that is cut in two loses its end.
    if (size < file.size && size % this.pageSize !== 0) file.pages[pages - 1]?.bytes.fill(0, size % this.pageSize);
    void old;
    while (file.pages.length < pages) file.pages.push(this.zeros());
    file.size = size;
  }

  copyIn(address: number, into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) {
      const [page, at] = this.split(address + i);
      const entry = this.entries.get(page);
      if (!entry || (entry.protection & (PROT_READ | PROT_WRITE)) === 0) fail("EFAULT", "read");
      into[i] = this.shown(entry).bytes[at]!;
    }
  }

  copyOut(address: number, from: Uint8Array): void {
    for (let i = 0; i < from.length; i++) {
      const [page, at] = this.split(address + i);
      const entry = this.entries.get(page);
      if (!entry || (entry.protection & PROT_WRITE) === 0) fail("EFAULT", "write");
      this.writable(entry).bytes[at] = from[i]!;
    }
  }

  pin(page: number, count: number, write: boolean, budget: number): number {
    const entries: Entry[] = [];
    for (let i = 0; i < count; i++) {
      const entry = this.entries.get(page + i);
      if (!entry || (entry.protection & (write ? PROT_WRITE : PROT_READ)) === 0) return -ERRNO.EFAULT;
      if (entry.filePage !== undefined && entry.filePage >= this.file.pages.length) return -ERRNO.EFAULT;
      if (i + 1 > budget) return -ERRNO.ENOMEM;
      entries.push(entry);
    }
    this.pins.set(
      this.nextPin,
      entries.map((entry) => this.writable(entry)),
    );
    return this.nextPin++;
  }

  unpin(pin: number): void {
    this.pins.delete(pin);
  }

  readPinned(pin: number, offset: number, into: Uint8Array): void {
    const pages = this.pins.get(pin)!;
    for (let i = 0; i < into.length; i++) {
      const [page, at] = this.split(offset + i);
      into[i] = pages[page]!.bytes[at]!;
    }
  }

  writePinned(pin: number, offset: number, from: Uint8Array): void {
    const pages = this.pins.get(pin)!;
    for (let i = 0; i < from.length; i++) {
      const [page, at] = this.split(offset + i);
      pages[page]!.bytes[at] = from[i]!;
    }
  }

  fork(): NaiveMemory {
    const child = new NaiveMemory(this.pageSize);
    child.file = this.file;
    for (const [page, entry] of this.entries) {
      const own = entry.own === undefined || entry.shared ? entry.own : { bytes: entry.own.bytes.slice() };
      child.entries.set(page, own === undefined ? { ...entry } : { ...entry, own });
    }
    return child;
  }

  private zeros(): Page {
    return { bytes: new Uint8Array(this.pageSize) };
  }

  private split(address: number): [number, number] {
    return [Math.floor(address / this.pageSize), address % this.pageSize];
  }

  /** Behind the file's end there is nothing, not even for a private copy. */
  private shown(entry: Entry): Page {
    if (entry.filePage !== undefined && entry.filePage >= this.file.pages.length) fail("EFAULT", "behind the end");
    return entry.own ?? this.file.pages[entry.filePage!]!;
  }

  private writable(entry: Entry): Page {
    const page = this.shown(entry);
    if (entry.own === undefined && !entry.shared) entry.own = { bytes: page.bytes.slice() };
    return entry.own ?? page;
  }
}
