import type { Span } from "../../address/span-map.ts";
import { hexRange } from "../../kernel/errors.ts";
import type { Holder, MappedPages } from "./mapped-pages.ts";

/** A mapping of an address space: IOVAs over a slice of memory (struct iopt_area). */
export class Area implements Span {
  readonly start: bigint;
  readonly last: bigint;
  readonly pages: MappedPages;
  /** Where the slice begins, bytes from the first page of `pages`. */
  readonly startByte: bigint;
  readonly readable: boolean;
  readonly writeable: boolean;
  /** Set while page tables have the area, so that its memory is held. */
  holder: Holder | undefined;
  /** What drivers hold through it: pages, each as often as it is held, and ranges (num_accesses). */
  accesses = 0;
  /** Of these, those that keep it from being unmapped (num_locks). */
  locks = 0;
  /** It is being unmapped: drivers get nothing new from it (prevent_access). */
  isClosing = false;

  constructor(
    start: bigint,
    length: bigint,
    slice: { readonly pages: MappedPages; readonly startByte: bigint },
    access: AreaAccess,
  ) {
    this.start = start;
    this.last = start + length - 1n;
    this.pages = slice.pages;
    this.startByte = slice.startByte;
    this.readable = access.readable;
    this.writeable = access.writeable;
  }

  get length(): bigint {
    return this.last - this.start + 1n;
  }

  /** Bytes from the start of its first page. */
  get pageOffset(): bigint {
    return this.startByte % BigInt(this.pages.pageSize);
  }

  /** Page tables are to have the area: its memory is held. Throws EFAULT, EINVAL, ENOMEM. */
  fill(): void {
    const holder = this.pageRange;
    this.pages.hold(holder);
    this.holder = holder;
  }

  /** No page table has it any more. */
  unfill(): void {
    if (this.holder) this.pages.letGo(this.holder);
    this.holder = undefined;
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
    return { start: this.startByte / size, last: (this.startByte + this.length - 1n) / size };
  }
}

/** What devices may do. */
export interface AreaAccess {
  readonly readable: boolean;
  readonly writeable: boolean;
}
