/**
 * Inside the model an address is a page number: a 64-bit address shifted right by 12 is at most 2^52, an exact double,
 * so that the hot path needs no bigint. The unit is 4 KiB on every host, also where the kernel's page is 64 KiB.
 */
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** The number of the last page of a 64-bit address space. */
export const LAST_PAGE = 2 ** 52 - 1;

/** Pages per 2^32 bytes. */
const PAGES_PER_HIGH_WORD = 2 ** 20;
/** Below this high word of its address a page has a number of 31 bits. */
const HIGH_OF_SMALL_PAGES = 2 ** 11;

/** The page that a 64-bit address, given as its two halves, lies in. */
export function pageFromHalves(low: number, high: number): number {
  // the usual address is a page of 31 bits, which V8 keeps as an integer
  if (high >>> 0 < HIGH_OF_SMALL_PAGES) return (high << 20) | (low >>> PAGE_SHIFT);
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
  if (page < PAGES_PER_HIGH_WORD) return (page << PAGE_SHIFT) >>> 0;
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
  // both below 2^63
  if ((high | sizeHigh) >= 0) return false;
  const lastLow = (low >>> 0) + (sizeLow >>> 0) - 1;
  const carry = lastLow < 0 ? -1 : lastLow > 0xffff_ffff ? 1 : 0;
  return (high >>> 0) + (sizeHigh >>> 0) + carry > 0xffff_ffff;
}
