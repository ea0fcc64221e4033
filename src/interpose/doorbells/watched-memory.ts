import { ERRNO } from "../../uapi/errno.ts";
import type { InjectedFile } from "../injected-file.ts";
import type { Mapping } from "../memory-map.ts";
import { PAGE_SIZE } from "../memory-map.ts";
import type { Userfault } from "./userfault.ts";

/** A page of registers in a program's memory. */
export interface WatchedPage {
  readonly address: number;
  readonly file: InjectedFile;
  /** Where it lies in the file, in bytes. */
  readonly offset: number;
  /** As RegisterPage has it. */
  readonly isExpected: boolean;
  /** Programs write to it without being stopped. */
  isOpen: boolean;
}

/** The registers that one memory maps: a write to a closed page is announced, those to an open one are looked for. */
export class WatchedMemory {
  readonly userfault: Userfault;
  /** Undefined for the memory of a forked child, of which nothing else is known. */
  readonly pid: number | undefined;
  readonly #pages = new Map<number, WatchedPage>();
  /** Pages that could not be closed or opened yet, because the program was forking just then. */
  readonly #late = new Set<WatchedPage>();

  constructor(userfault: Userfault, pid: number | undefined) {
    this.userfault = userfault;
    this.pid = pid;
  }

  /** Whether some page could not be closed or opened yet: settle() tries again. */
  get isLate(): boolean {
    return this.#late.size > 0;
  }

  /** Whether it has pages that are mapped still, as far as that is known. */
  get isInUse(): boolean {
    return this.#pages.size > 0;
  }

  /** The page that an address is in, as far as it is one of registers. */
  find(address: number): WatchedPage | undefined {
    return this.#pages.get(address - (address % PAGE_SIZE));
  }

  /**
   * Watches a mapping of a file from now on.
   * @returns false when it cannot be: somebody else watches it
   */
  add(mapping: Mapping, file: InjectedFile): boolean {
    const { start, end, offset } = mapping;
    if (this.userfault.watch(start, end - start) < 0) return false;
    for (const page of file.description.registerPages ?? []) {
      const address = start + page.offset - offset;
      if (address < start || address >= end) continue;
      const known = this.#pages.get(address);
      const isSame = known?.file === file && known.offset === page.offset;
      const watched = isSame ? known : { address, file, ...page, isOpen: false };
      this.#pages.set(address, watched);
      // the mapping may be a new one at the same place
      if (!watched.isOpen) this.close(watched);
    }
    return true;
  }

  /** A mapping has moved, with its protection. */
  move(from: number, to: number, length: number): void {
    const moved = [...this.#pages.values()].filter(({ address }) => address >= from && address < from + length);
    for (const page of moved) this.#drop(page);
    for (const page of moved) this.#pages.set(page.address - from + to, { ...page, address: page.address - from + to });
  }

  /** The pages of a memory that this one is a copy of. */
  copy(other: WatchedMemory): void {
    for (const page of other.#pages.values()) this.#pages.set(page.address, { ...page });
  }

  closeAll(): void {
    for (const page of [...this.#pages.values()]) this.close(page);
  }

  open(page: WatchedPage): void {
    page.isOpen = true;
    this.#set(page);
  }

  close(page: WatchedPage): void {
    page.isOpen = false;
    this.#set(page);
  }

  /** Tries once more what could not be done. */
  settle(): void {
    for (const page of [...this.#late]) this.#set(page);
  }

  /** Forgets the pages of files that are gone. */
  keep(isThere: (file: InjectedFile) => boolean): void {
    for (const page of [...this.#pages.values()]) if (!isThere(page.file)) this.#drop(page);
  }

  /** Whether the memory is gone: its process has ended, or executes another program. */
  isGone(): boolean {
    for (const page of this.#pages.values()) {
      if (page.isOpen) continue;
      const result = this.userfault.protect(page.address);
      if (result === -ERRNO.ESRCH) return true;
      if (result === 0 || result === -ERRNO.EAGAIN) return false;
    }
    return false;
  }

  #set(page: WatchedPage): void {
    const { userfault } = this;
    const result = page.isOpen ? userfault.unprotect(page.address) : userfault.protect(page.address);
    if (result === -ERRNO.EAGAIN) {
      this.#late.add(page);
      return;
    }
    this.#late.delete(page);
    if (result < 0) this.#drop(page);
  }

  #drop(page: WatchedPage): void {
    this.#late.delete(page);
    if (this.#pages.get(page.address) === page) this.#pages.delete(page.address);
  }
}
