import { PAGE_SHIFT, pageRunBytes, pageToAddress } from "../../address/pages.ts";
import { hexRange } from "../../kernel/errors.ts";
import { TceTable } from "./tce-table.ts";

/** What a window is made from. */
export interface WindowRequest {
  /** log2 of the bytes of its pages, as the caller gave it: 32 bits of anything. */
  readonly pageShift: number;
  /** Bytes, as the caller gave them. */
  readonly size: bigint;
  /** Levels of the table. */
  readonly levels: number;
}

/** A DMA window of a partitionable endpoint with its table (struct iommu_table). Page numbers are in 4 KiB. */
export class TceWindow {
  readonly startPage: number;
  /** log2 of the bytes of an IOMMU page, at least 12. */
  readonly pageShift: number;
  /** 4 KiB pages that one entry covers. */
  readonly span: number;
  readonly table: TceTable;
  /** Bytes that its table is charged with (it_allocated_size). */
  readonly tableBytes: bigint;

  constructor(startPage: number, pageShift: number, entries: number, tableBytes: bigint) {
    this.startPage = startPage;
    this.pageShift = pageShift;
    this.span = 2 ** (pageShift - PAGE_SHIFT);
    this.table = new TceTable(entries);
    this.tableBytes = tableBytes;
  }

  get startAddress(): bigint {
    return pageToAddress(this.startPage);
  }

  /** The entry that a page belongs to; negative or beyond the table when the page is not in the window. */
  indexOf(page: number): number {
    return Math.floor((page - this.startPage) / this.span);
  }

  /** Whether an address in this page names the window. */
  contains(page: number): boolean {
    return page >= this.startPage && this.indexOf(page) < this.table.entries;
  }

  /** "0x0-0x7fffffff with 4K pages" */
  get label(): string {
    const { start, last } = pageRunBytes(this.startPage, this.table.entries * this.span);
    return `${hexRange(start, last)} with ${pageSizeText(this.pageShift)} pages`;
  }
}

/** "4K", "16M": how people name page sizes. */
export function pageSizeText(shift: number): string {
  if (shift >= 30) return `${2 ** (shift - 30)}G`;
  return shift >= 20 ? `${2 ** (shift - 20)}M` : `${2 ** (shift - 10)}K`;
}
