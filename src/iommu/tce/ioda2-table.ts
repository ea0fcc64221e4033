import { log2, powerOfTwo } from "./machine-shift.ts";
import type { WindowRequest } from "./tce-window.ts";

/** Most levels of a table (powernv/pci.h: POWERNV_IOMMU_MAX_LEVELS). */
export const MAX_LEVELS = 5;
/** Address bits of a TCE that levels and page may use up (powernv/pci-ioda-tce.c:pnv_pci_ioda2_table_alloc_pages). */
const REACH_BITS = 55n;
/**
 * One level lies in one piece: log2 of the largest run of pages that the kernel hands out, 16 MiB with 4K and with 64K
 * pages.
 */
export const LARGEST_PIECE_SHIFT = 24;
/** The table is made twice: for the hardware, and a copy that holds user addresses. */
const COPIES = 2n;
/** log2 of the bytes of a TCE. */
const TCE_SHIFT = 3;
const SMALLEST_TABLE = 0x1000n;

function u32(value: number): number {
  return value >>> 0;
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/**
 * How a window's table is cut into levels. Counts of bits are unsigned 32-bit numbers, as in the kernel: too small
 * windows wrap.
 */
export interface Ioda2Levels {
  /** log2 of the bytes of the table as if it were flat. */
  readonly tableShift: number;
  /** log2 of the bytes of each level. */
  readonly levelShift: number;
}

/** Undefined for sizes that are no power of two and for levels out of range. */
export function ioda2Levels(request: WindowRequest, pageShiftOfKernel: number): Ioda2Levels | undefined {
  const { levels, pageShift } = request;
  const windowShift = log2(request.size);
  if (levels < 1 || levels > MAX_LEVELS || windowShift === undefined) return undefined;
  const entriesShift = u32(windowShift - pageShift);
  const entriesPerLevel = Math.floor(u32(entriesShift + levels - 1) / levels);
  return {
    tableShift: u32(entriesShift + TCE_SHIFT),
    levelShift: Math.max(u32(entriesPerLevel + TCE_SHIFT), pageShiftOfKernel),
  };
}

/**
 * Bytes that the table counts as, all levels filled; 0 for what cannot be
 * (powernv/pci-ioda.c:pnv_pci_ioda2_get_table_size).
 */
export function ioda2TableBytes(request: WindowRequest, pageShiftOfKernel: number): bigint {
  const cut = ioda2Levels(request, pageShiftOfKernel);
  if (cut === undefined) return 0n;
  const level = powerOfTwo(cut.levelShift);
  let table = larger(powerOfTwo(cut.tableShift), SMALLEST_TABLE);
  let bytes = 0n;
  for (let i = 0; i < request.levels; i++) {
    // a level of 0 bytes, from a window far below its page: nothing is counted
    if (level === 0n) return 0n;
    bytes += ((table + level - 1n) / level) * level;
    table = larger((table / level) << BigInt(TCE_SHIFT), level);
  }
  return BigInt.asUintN(64, bytes * COPIES);
}

/** Whether the levels and the page together need more address bits than a TCE has. */
export function exceedsReach({ levels, pageShift }: WindowRequest, { levelShift }: Ioda2Levels): boolean {
  return BigInt(levelShift - TCE_SHIFT) * BigInt(levels) + BigInt(pageShift) >= REACH_BITS;
}

/** Entries of the window: a table smaller than a page of the kernel is rounded up to one. */
export function ioda2Entries({ tableShift }: Ioda2Levels, pageShiftOfKernel: number): number {
  return 2 ** (Math.max(tableShift, pageShiftOfKernel) - TCE_SHIFT);
}
