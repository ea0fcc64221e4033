import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import type { FileMemory } from "../../kernel/file-description.ts";
import { wordFromBigInt } from "../../kernel/word.ts";

/**
 * Where mapped bytes come from: a process's memory or a file's (enum iopt_address_type). Offsets are bytes from its
 * first page.
 */
export interface PageSource {
  readonly kind: "user" | "file" | "dmabuf";
  /**
   * Holds pages for DMA.
   * @returns an id for the others
   * @throws KernelError EFAULT, EINVAL (no memfd, or it ends before)
   */
  pin(firstPage: number, pages: number, write: boolean): number;
  unpin(pin: number): void;
  /** Reads held bytes: `offset` counts from the first page of the pin. */
  read(pin: number, firstPage: number, offset: number, into: Uint8Array): void;
  write(pin: number, firstPage: number, offset: number, from: Uint8Array): void;
  /**
   * Copies by the addresses of the caller's own process, `offset` from the first byte of the first page. EFAULT.
   * @param caller undefined for a thread of the kernel's own
   * @returns false when that is not how it is reached
   */
  copyFrom(caller: AddressSpace | undefined, offset: bigint, into: Uint8Array): boolean;
  copyTo(caller: AddressSpace | undefined, offset: bigint, from: Uint8Array): boolean;
  /** Which page is held there (AddressSpace.pageIdentity); `page` counts from the first one of the pin. */
  identity(pin: number, firstPage: number, page: number): string | undefined;
  /** log2 of the bytes of the huge page that a page is in; 0 for ordinary ones. */
  hugePageShift(page: number): number;
  /** Nobody maps it any more. */
  release(): void;
}

/**
 * Holds pages of a process's memory for DMA, `vaddr` bytes being where the first one begins.
 * @throws KernelError EFAULT
 */
export function pinUser(space: AddressSpace, vaddr: number, pages: number, write: boolean): number {
  const pin = space.pinFast(vaddr, pages, write);
  if (pin < 0) {
    const wanted = write ? "writable" : "readable";
    fail(
      "EFAULT",
      `memory at ${where(space, vaddr, pages)} cannot be pinned: some of it is not mapped or not ${wanted}`,
    );
  }
  if (space.charged < pages) {
    space.unpin(pin);
    const text = where(space, vaddr, pages);
    fail("EFAULT", `${text} is not memory but a device's registers, which an iommufd cannot map`);
  }
  return pin;
}

function where({ pageSize }: AddressSpace, vaddr: number, pages: number): string {
  return hexRange(BigInt(vaddr), BigInt(vaddr + pages * pageSize - 1));
}

/** Memory of a process. */
export class UserPages implements PageSource {
  readonly kind = "user";
  readonly #space: AddressSpace;
  readonly #vaddr: bigint;

  /** @param vaddr of the first page */
  constructor(space: AddressSpace, vaddr: bigint) {
    this.#space = space;
    this.#vaddr = vaddr;
  }

  pin(firstPage: number, pages: number, write: boolean): number {
    const space = this.#space;
    const vaddr = this.#addressOf(firstPage);
    const length = BigInt(pages * space.pageSize);
    // beyond what a number holds there is no user memory
    if (vaddr + length > BigInt(Number.MAX_SAFE_INTEGER)) {
      fail("EFAULT", `${hexRange(vaddr, vaddr + length - 1n)} is no user memory`);
    }
    return pinUser(space, Number(vaddr), pages, write);
  }

  unpin(pin: number): void {
    this.#space.unpin(pin);
  }

  read(pin: number, firstPage: number, offset: number, into: Uint8Array): void {
    this.#space.readPinned(pin, Number(this.#addressOf(firstPage)), offset, into);
  }

  write(pin: number, firstPage: number, offset: number, from: Uint8Array): void {
    this.#space.writePinned(pin, Number(this.#addressOf(firstPage)), offset, from);
  }

  copyFrom(caller: AddressSpace | undefined, offset: bigint, into: Uint8Array): boolean {
    if (caller && caller !== this.#space) return false;
    this.#space.copyIn(wordFromBigInt(this.#vaddr + offset), into, into.length);
    return true;
  }

  copyTo(caller: AddressSpace | undefined, offset: bigint, from: Uint8Array): boolean {
    if (caller && caller !== this.#space) return false;
    this.#space.copyOut(wordFromBigInt(this.#vaddr + offset), from, from.length);
    return true;
  }

  identity(pin: number, firstPage: number, page: number): string | undefined {
    return this.#space.heldIdentity(pin, Number(this.#addressOf(firstPage)), page);
  }

  hugePageShift(page: number): number {
    return this.#space.hugePageShift(Number(this.#addressOf(page)));
  }

  release(): void {}

  #addressOf(page: number): bigint {
    return this.#vaddr + BigInt(page * this.#space.pageSize);
  }
}

/**
 * Memory of a file: a memfd. What else a descriptor may be shows only when it is to be pinned
 * (mm/gup.c:memfd_pin_folios).
 */
export class FilePages implements PageSource {
  readonly kind = "file";
  readonly #memory: FileMemory | undefined;
  readonly #label: string;
  readonly #start: bigint;
  readonly #pageSize: number;

  /** @param start of the first page, bytes into the file */
  constructor(memory: FileMemory | undefined, label: string, start: bigint, pageSize: number) {
    this.#memory = memory;
    this.#label = label;
    this.#start = start;
    this.#pageSize = pageSize;
  }

  pin(firstPage: number, pages: number): number {
    if (!this.#memory) fail("EINVAL", `${this.#label} is no memory: a memfd is, and a file of tmpfs or hugetlbfs`);
    const end = this.#start + BigInt((firstPage + pages) * this.#pageSize);
    const size = this.#memory.size;
    if (end > BigInt(size)) fail("EINVAL", `the mapping ends at ${hex(end)} of a file that has ${hex(size)} bytes`);
    return 0;
  }

  unpin(): void {}

  read(_pin: number, firstPage: number, offset: number, into: Uint8Array): void {
    this.#memory!.read(this.#offsetOf(firstPage) + offset, into);
  }

  write(_pin: number, firstPage: number, offset: number, from: Uint8Array): void {
    this.#memory!.write(this.#offsetOf(firstPage) + offset, from);
  }

  identity(_pin: number, firstPage: number, page: number): string | undefined {
    return this.#memory?.pageIdentity?.(this.#offsetOf(firstPage + page));
  }

  hugePageShift(): number {
    return 0;
  }

  copyFrom(): boolean {
    return false;
  }

  copyTo(): boolean {
    return false;
  }

  release(): void {
    this.#memory?.release?.();
  }

  #offsetOf(page: number): number {
    return Number(this.#start) + page * this.#pageSize;
  }
}
