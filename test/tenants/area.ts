import type { TenantProcess } from "./machine.ts";

/**
 * The memory that stands behind one container or iommufd of a tenant: 16 pages. Everybody uses the same addresses on purpose, as guests' and
 * device's addresses alike: whoever gets at somebody else's translation gets at his memory.
 */
export const PAGES = 16;
export const PAGE = 4096;
/** Pages 0-3: a page table of four levels. */
export const TABLE_PAGES = 4;
/** Pages that say whose they are. */
export const FIRST_DATA = 4;
export const DATA_END = 12;
/** Pages 12 and 13: a PASID directory and its table, with the page table for PASIDs 1 to 3. */
export const DIRECTORY = 12;
export const LISTED_PASIDS = 3;
/** Where devices show what they have read. */
export const SCRATCH = 14;

/** IOVA, or guest-physical address, of page 0. */
export const WINDOW = 0x10_0000;
/** A guest's virtual address: the first of those that its page table knows. 2 MiB aligned, and nothing of a process is there. */
export const VIRTUAL = 0x1234_5640_0000;
/** Virtual pages 0 to 7 lead to data pages, or nowhere; page 8 leads to the scratch page. */
export const VIRTUAL_PAGES = 8;

const RWU = 7n;
const PRESENT = 1n;
/** First level only, four levels (VT-d, scalable-mode PASID table entry). */
const FIRST_ONLY = PRESENT | (1n << 6n) | (2n << 2n);

const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

export function poke64(process: TenantProcess, address: number, value: bigint): void {
  wordView.setBigUint64(0, value, true);
  process.poke(address, word);
}

/** A number of up to 53 bits. */
export function peekNumber(process: TenantProcess, address: number): number {
  process.peek(address, word);
  return wordView.getUint32(0, true) + wordView.getUint32(4, true) * 2 ** 32;
}

export function pokeNumber(process: TenantProcess, address: number, value: number): void {
  wordView.setUint32(0, value % 2 ** 32, true);
  wordView.setUint32(4, Math.floor(value / 2 ** 32), true);
  process.poke(address, word);
}

/** The address that an IOMMU knows a page of the area by. */
export function pageAddress(page: number): number {
  return WINDOW + page * PAGE;
}

/** Writes page table, PASID directory and PASID table into a new area. */
export function writeTables(process: TenantProcess, area: number): void {
  const shifts = [39, 30, 21];
  for (const [level, shift] of shifts.entries()) {
    const slot = Math.floor(VIRTUAL / 2 ** shift) % 512;
    poke64(process, area + level * PAGE + slot * 8, BigInt(pageAddress(level + 1)) | RWU);
  }
  pointVirtual(process, area, VIRTUAL_PAGES, SCRATCH);
  poke64(process, area + DIRECTORY * PAGE, BigInt(pageAddress(DIRECTORY + 1)) | PRESENT);
  for (let pasid = 1; pasid <= LISTED_PASIDS; pasid++) {
    const entry = area + (DIRECTORY + 1) * PAGE + pasid * 64;
    poke64(process, entry, FIRST_ONLY);
    poke64(process, entry + 16, BigInt(WINDOW));
  }
}

/** Lets a virtual page lead to a page of the area; -1 for nowhere. */
export function pointVirtual(process: TenantProcess, area: number, virtual: number, page: number): void {
  const slot = (Math.floor(VIRTUAL / PAGE) % 512) + virtual;
  poke64(process, area + 3 * PAGE + slot * 8, page < 0 ? 0n : BigInt(pageAddress(page)) | RWU);
}

/** The pages that are mapped together with one. */
export function mappedRun(index: number): { readonly first: number; readonly count: number } {
  if (index < TABLE_PAGES) return { first: 0, count: TABLE_PAGES };
  if (index === DIRECTORY || index === DIRECTORY + 1) return { first: DIRECTORY, count: 2 };
  return { first: index === PAGES - 1 ? FIRST_DATA : index, count: 1 };
}
