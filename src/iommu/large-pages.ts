import { PAGE_SHIFT } from "../address/pages.ts";

/** Sizes of large pages that tables of all kinds have where pages are of 4 KiB: log2 of their bytes, largest first. */
export const LARGE_PAGES: readonly number[] = [30, 21];

/**
 * How large a page an IOMMU can have for a mapping: log2 of its bytes.
 * @param shifts of large pages, largest first
 * @param page of 4 KiB that is to be in it
 * @param start where the mapping begins, and the end that is the page behind it: numbers of such pages, or parts
 */
export function shiftOfPage(shifts: readonly number[], page: number, start: number, end: number): number {
  for (const shift of shifts) {
    const pages = 1 << (shift - PAGE_SHIFT);
    // the remainder, which are some of the low bits
    const first = page - (page & (pages - 1));
    if (first >= start && first + pages <= end) return shift;
  }
  return PAGE_SHIFT;
}
