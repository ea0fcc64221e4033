import type { DmaBuf } from "../../kernel/dma-buf.ts";
import { fail } from "../../kernel/errors.ts";
import type { PageSource } from "./page-source.ts";

/**
 * Memory of a dma-buf (pages.c:IOPT_ADDRESS_DMABUF). Nothing of it is pinned or counts. Once its owner has taken it
 * back, mappings of it lead nowhere, whatever the owner does later.
 */
export class DmaBufPages implements PageSource {
  readonly kind = "dmabuf";
  readonly #buf: DmaBuf;
  readonly #start: number;
  readonly #pageSize: number;
  readonly #detach: () => void;
  #isTaken = false;

  /** @param start of the first page, bytes into the dma-buf. Throws ENODEV. */
  constructor(buf: DmaBuf, start: number, pageSize: number) {
    this.#buf = buf;
    this.#start = start;
    this.#pageSize = pageSize;
    this.#detach = buf.attach(() => {
      this.#isTaken = true;
    });
  }

  pin(): number {
    return 0;
  }

  unpin(): void {}

  read(_pin: number, firstPage: number, offset: number, into: Uint8Array): void {
    this.#buf.memory.read(this.#reach(firstPage, offset), into);
  }

  write(_pin: number, firstPage: number, offset: number, from: Uint8Array): void {
    this.#buf.memory.write(this.#reach(firstPage, offset), from);
  }

  copyFrom(): boolean {
    return fail("EINVAL", "drivers without page tables do not reach a dma-buf");
  }

  copyTo(): boolean {
    return this.copyFrom();
  }

  identity(_pin: number, firstPage: number, page: number): string | undefined {
    if (this.#isTaken) return undefined;
    return `dma-buf ${this.#buf.number}:${this.#start / this.#pageSize + firstPage + page}`;
  }

  hugePageShift(): number {
    return 0;
  }

  release(): void {
    this.#detach();
  }

  #reach(firstPage: number, offset: number): number {
    if (this.#isTaken) fail("EFAULT", "the owner of the dma-buf has taken its memory back");
    return this.#start + firstPage * this.#pageSize + offset;
  }
}
