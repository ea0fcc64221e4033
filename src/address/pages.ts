/**
 * Inside the model an address is a page number: a 64-bit address shifted right by 12 is at most 2^52, an exact double, so
 * that the hot path needs no bigint. The unit is 4 KiB on every host, also where the kernel's page is 64 KiB.
 */
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** The number of the last page of a 64-bit address space. */
export const LAST_PAGE = 2 ** 52 - 1;

/** Pages per 2^32 bytes. */
const PAGES_PER_HIGH_WORD = 2 ** 20;

/** The page that a 64-bit address, given as its two halves, lies in. */
export function pageFromHalves(low: number, high: number): number {
  return (high >>> 0) * PAGES_PER_HIGH_WORD + (low >>> PAGE_SHIFT);
}

export function pageToAddress(page: number): bigint {
  return BigInt(page) << 12n;
}

/** The page an address lies in. */
export function addressToPage(address: bigint): number {
  return Number(address >> 12n);
}

/** The low 32 bits of a page's address. */
export function pageLow(page: number): number {
  // % of numbers beyond 32 bits is a slow call
  return ((page - Math.floor(page / PAGES_PER_HIGH_WORD) * PAGES_PER_HIGH_WORD) << PAGE_SHIFT) >>> 0;
}

/** The high 32 bits of a page's address. */
export function pageHigh(page: number): number {
  return Math.floor(page / PAGES_PER_HIGH_WORD) >>> 0;
}

/** The inclusive bytes of a run of pages, for messages and interfaces. */
export function pageRunBytes(start: number, pages: number): { start: bigint; last: bigint } {
  return { start: pageToAddress(start), last: pageToAddress(start + pages) - 1n };
}

/** Whether [address, address + size) of a nonzero size runs past 2^64, all given as halves. */
export function wraps(low: number, high: number, sizeLow: number, sizeHigh: number): boolean {
  const lastLow = (low >>> 0) + (sizeLow >>> 0) - 1;
  const carry = lastLow < 0 ? -1 : lastLow > 0xffff_ffff ? 1 : 0;
  return (high >>> 0) + (sizeHigh >>> 0) + carry > 0xffff_ffff;
}
