import type { Span } from "../../address/span-map.ts";
import { hexRange } from "../../kernel/errors.ts";
import type { Holder, MappedPages } from "./mapped-pages.ts";

/**
 * Where an area is kept that has its memory for itself: no object stands for it there. An area is made for who asks,
 * and may be made again; what it is asked about goes there, and what is to last makes it last.
 */
export interface FlatAreas {
  /** Of the first byte. */
  addressOf(slot: number): number;
  /** Its memory is held. */
  isFilled(slot: number): boolean;
  /** Throws EFAULT, ENOMEM. */
  fill(slot: number, length: number): void;
  unfill(slot: number, length: number): void;
  read(slot: number, offset: number, into: Uint8Array): void;
  write(slot: number, offset: number, from: Uint8Array): void;
  /** log2 of the bytes of the huge page that a byte of it is in. */
  hugePageShift(slot: number, offset: number): number;
  /** From now on the area has an object, and its memory too: that is what it returns. */
  keep(slot: number, area: Area): { readonly pages: MappedPages; readonly holder: Holder | undefined };
}

/** What devices may do. */
export interface AreaAccess {
  readonly readable: boolean;
  readonly writeable: boolean;
}

/** A mapping of an address space: IOVAs over a slice of memory (struct iopt_area). */
export class Area implements Span {
  readonly start: bigint;
  readonly last: bigint;
  /** Where it begins and what is behind it, as numbers: exact below 2^53, and for whole pages of 4 KiB. */
  readonly from: number;
  readonly to: number;
  readonly readable: boolean;
  readonly writeable: boolean;
  /** What drivers hold through it: pages, each as often as it is held, and ranges (num_accesses). */
  accesses = 0;
  /** Of these, those that keep it from being unmapped (num_locks). */
  locks = 0;
  /** It is being unmapped: drivers get nothing new from it (prevent_access). */
  isClosing = false;
  #pages: MappedPages | undefined;
  #startByte = 0n;
  #holder: Holder | undefined;
  /** While it has no pages: where it is kept. */
  readonly #flat: FlatAreas | undefined;
  readonly #slot: number;

  private constructor(
    [start, last]: readonly [bigint, bigint],
    access: AreaAccess,
    flat: FlatAreas | undefined,
    slot: number,
  ) {
    this.start = start;
    this.last = last;
    this.from = Number(start);
    this.to = Number(last + 1n);
    this.readable = access.readable;
    this.writeable = access.writeable;
    this.#flat = flat;
    this.#slot = slot;
  }

  /** An area of memory that others may show as well. */
  static of(
    start: bigint,
    length: bigint,
    slice: { readonly pages: MappedPages; readonly startByte: bigint },
    access: AreaAccess,
  ): Area {
    const area = new Area([start, start + length - 1n], access, undefined, 0);
    area.#pages = slice.pages;
    area.#startByte = slice.startByte;
    return area;
  }

  /** The object for an area that is kept without one. */
  static at(start: number, length: number, access: AreaAccess, flat: FlatAreas, slot: number): Area {
    return new Area([BigInt(start), BigInt(start + length - 1)], access, flat, slot);
  }

  get length(): bigint {
    return this.last - this.start + 1n;
  }

  /** Its memory, which makes it last: for what has to do with pages one by one. */
  get pages(): MappedPages {
    return this.#pages ?? this.#keep();
  }

  /** Where the slice begins, bytes from the first page of `pages`. */
  get startByte(): bigint {
    if (!this.#pages) this.#keep();
    return this.#startByte;
  }

  /** Set while page tables have the area, so that its memory is held. Makes it last. */
  get holder(): Holder | undefined {
    if (!this.#pages) this.#keep();
    return this.#holder;
  }

  set holder(holder: Holder | undefined) {
    this.#holder = holder;
  }

  /** It has its memory for itself. */
  get isFlat(): boolean {
    return this.#pages === undefined;
  }

  /** Where its memory comes from. */
  get kind(): "user" | "file" | "dmabuf" {
    return this.#pages?.source.kind ?? "user";
  }

  /** Bytes from the start of its first page, where all of these have so many. */
  offsetIn(pageSize: bigint): bigint {
    if (this.#pages) return this.#startByte % pageSize;
    return BigInt(this.#flat!.addressOf(this.#slot)) % pageSize;
  }

  /** Page tables are to have the area: its memory is held. Throws EFAULT, EINVAL, ENOMEM. */
  fill(): void {
    if (!this.#pages) {
      this.#flat!.fill(this.#slot, Number(this.length));
      return;
    }
    const holder = this.pageRange;
    this.#pages.hold(holder);
    this.#holder = holder;
  }

  /** No page table has it any more. */
  unfill(): void {
    if (!this.#pages) {
      this.#flat!.unfill(this.#slot, Number(this.length));
      return;
    }
    if (this.#holder) this.#pages.letGo(this.#holder);
    this.#holder = undefined;
  }

  /**
   * DMA from its memory, which is held.
   * @param offset bytes from its first one on
   */
  read(offset: number, into: Uint8Array): void {
    if (this.#pages) this.#pages.read(this.#startByte + BigInt(offset), into);
    else this.#flat!.read(this.#slot, offset, into);
  }

  /** DMA to its memory. */
  write(offset: number, from: Uint8Array): void {
    if (this.#pages) this.#pages.write(this.#startByte + BigInt(offset), from);
    else this.#flat!.write(this.#slot, offset, from);
  }

  /** log2 of the bytes of the huge page that a byte of it is in; 0 for ordinary ones. */
  hugePageShift(iova: bigint): number {
    if (!this.#pages) return this.#flat!.hugePageShift(this.#slot, Number(iova - this.start));
    return this.#pages.source.hugePageShift(Number(this.offsetOf(iova) / BigInt(this.#pages.pageSize)));
  }

  /** Where a byte of it is, bytes from the first page of `pages`. */
  offsetOf(iova: bigint): bigint {
    return this.startByte + iova - this.start;
  }

  get label(): string {
    return `the mapping ${hexRange(this.start, this.last)}`;
  }

  /** The pages that it shows. */
  get pageRange(): Holder {
    const size = BigInt(this.pages.pageSize);
    return { start: this.#startByte / size, last: (this.#startByte + this.length - 1n) / size };
  }

  #keep(): MappedPages {
    const flat = this.#flat!;
    const address = flat.addressOf(this.#slot);
    const { pages, holder } = flat.keep(this.#slot, this);
    this.#startByte = BigInt(address) - pages.address;
    this.#pages = pages;
    this.#holder = holder;
    return pages;
  }
}
