import type { Word } from "./word.ts";

/** A file that memory lies in, as another process can be given it. */
export interface SharedFile {
  /** Whoever asked has to close it. */
  readonly fd: number;
  /** Where the memory begins in it. Bytes. */
  readonly offset: number;
}

/**
 * The memory of one process (the kernel's mm_struct): copies in and out, and pages held for DMA. Its identity is what
 * "the same process" means to VFIO, so a transport hands out the same object for all threads of a process.
 */
export abstract class AddressSpace {
  /** Bytes of a page: the host kernel's PAGE_SIZE. */
  abstract readonly pageSize: number;

  /** How the processor of this process stores numbers: the byte order of its structures. False on s390x. */
  abstract readonly littleEndian: boolean;

  /** Pages that the model charged to RLIMIT_MEMLOCK here (VmLck). */
  lockedPages = 0;

  /** Pages that iommufd holds here (VmPin). */
  pinnedPages = 0;

  /**
   * Of the last pin(), pinFrom() or pinFast() that held pages: how many of them count as locked memory (device memory
   * does not).
   */
  charged = 0;

  /** Locked pages that are not the model's own: mlock() by the program. Counts against the limit too. */
  foreignLockedPages(): number {
    return 0;
  }

  /**
   * copy_from_user(): fills `into[0..length)`; EFAULT when any byte cannot be read.
   * @param words `into` as 32-bit words, from who has it so: memory in this process copies structures faster that way
   */
  abstract copyIn(address: Word, into: Uint8Array, length: number, words?: Int32Array): void;

  /**
   * copy_to_user(): EFAULT when any byte cannot be written; the bytes before the first page that refuses are written
   * all the same, as the kernel does.
   * @param words as in copyIn()
   */
  abstract copyOut(address: Word, from: Uint8Array, length: number, words?: Int32Array): void;

  /** strndup_user(): the string at `address`; EINVAL when `max` bytes hold no NUL, EFAULT as copyIn. */
  abstract copyString(address: Word, max: number): string;

  /**
   * Holds the pages behind `vaddr` (page-aligned bytes) for DMA, as pin_user_pages(FOLL_LONGTERM) does: every page must
   * be mapped and readable, or writable when `write`. Stops with -ENOMEM as soon as more than `budget` of them would
   * count as locked memory. All or nothing.
   * @returns an id for readPinned, writePinned and unpin (>= 0), or a negative errno: -EFAULT, -ENOMEM
   */
  abstract pin(vaddr: number, pages: number, write: boolean, budget: number): number;

  /**
   * The same from a page number of 4 KiB on. As long as such a number is below 2^31 a call with it allocates nothing,
   * which one with an address can.
   */
  pinFrom(page: number, pages: number, write: boolean, budget: number): number {
    return this.pin(page * 4096, pages, write, budget);
  }

  /**
   * As pin() without a budget, by the processor's page tables where they have the pages (pin_user_pages_fast()): what
   * is there and may be written or executed can be held for reading, although the mapping does not say so. A transport
   * that cannot look there asks the mapping only.
   */
  pinFast(vaddr: number, pages: number, write: boolean): number {
    return this.pin(vaddr, pages, write, Number.POSITIVE_INFINITY);
  }

  abstract unpin(pin: number): void;

  /**
   * How many pages from `vaddr` on pin() could hold before the first that refuses, as a number of at most `pages`.
   * Memory of devices refuses here, as it does where the kernel wants pages and not addresses (pin_user_pages()).
   */
  pinnable(vaddr: number, pages: number, write: boolean): number {
    let held = 0;
    let refused = pages + 1;
    while (refused - held > 1) {
      // All of them first: the usual answer takes one look.
      const count = refused > pages ? pages : Math.floor((held + refused) / 2);
      if (this.#canPin(vaddr, count, write)) held = count;
      else refused = count;
    }
    return held;
  }

  #canPin(vaddr: number, pages: number, write: boolean): boolean {
    const pin = this.pin(vaddr, pages, write, Number.POSITIVE_INFINITY);
    if (pin < 0) return false;
    const isMemory = this.charged === pages;
    this.unpin(pin);
    return isMemory;
  }

  /** log2 of the bytes of the huge page (hugetlbfs) that backs an address; 0 for ordinary pages. */
  hugePageShift(_vaddr: number): number {
    return 0;
  }

  /**
   * Which page is behind an address: equal for two addresses, of one process or of two, exactly when they show the same
   * memory. Undefined where nothing is mapped, and in a transport that cannot tell. For tests that compare pages as a
   * kernel compares their frame numbers.
   */
  pageIdentity(_vaddr: number): string | undefined {
    return undefined;
  }

  /** The same of a page that a pin holds. A transport that does not know what it holds looks at the address. */
  heldIdentity(_pin: number, vaddr: number, page: number): string | undefined {
    return this.pageIdentity(vaddr + page * this.pageSize);
  }

  /**
   * The file that a range of memory lies in as a whole, where it is a shared mapping of memory (memfd, tmpfs,
   * hugetlbfs): whoever is given its descriptor sees the same bytes. Undefined for all other memory, and out of a
   * transport's reach. The descriptor is the caller's.
   */
  handOver(_vaddr: number, _bytes: number): SharedFile | undefined {
    return undefined;
  }

  /** DMA from memory: copies `length` bytes from `offset` bytes into the held pages. EFAULT when the memory is gone. */
  abstract readPinned(pin: number, vaddr: number, offset: number, into: Uint8Array): void;

  /** DMA to memory. */
  abstract writePinned(pin: number, vaddr: number, offset: number, from: Uint8Array): void;
}
