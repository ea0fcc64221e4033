import { PAGE_SIZE } from "../../address/pages.ts";
import type { TceWindow } from "../../iommu/tce/tce-window.ts";

/**
 * Whether an address or size is a multiple of a window's page.
 * @param low its low 32 bits
 * @param page its number of 4 KiB pages
 */
export function isMultiple(window: TceWindow, low: number, page: number): boolean {
  return low % PAGE_SIZE === 0 && page % window.span === 0;
}
