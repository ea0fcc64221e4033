import { ALL_ADDRESSES } from "../../address/iova-ranges.ts";
import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { Area } from "./area.ts";
import type { IoPageTable } from "./io-page-table.ts";

const END = 2n ** 64n;
const NUMBERS_END = 2n ** 53n;

/** Mappings that one step of an unmap removes, and how many of those that have their memory for themselves. */
const AREAS_PER_STEP = 64;
const FLAT_PER_STEP = 256;

/** What an unmap did: also when it stopped at a mapping that it would have cut. */
export interface Unmapped {
  readonly bytes: bigint;
  /**
   * The mapping that lies across an end of the range. What lay before it is gone all the same
   * (io_pagetable.c:iopt_unmap_iova_range).
   */
  readonly cut: Area | undefined;
  /** One that is locked: what lies before it is gone as well. */
  readonly locked?: Area;
}

/** The last byte of a range that a caller gave. EINVAL for nothing, EOVERFLOW (io_pagetable.c:iopt_unmap_iova). */
export function lastOf(iova: bigint, length: bigint): bigint {
  if (length === 0n) fail("EINVAL", "the length is 0");
  const last = iova + length - 1n;
  if (last >= END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(length)} runs past 2^64`);
  return last;
}

/** Removes the mappings in a range, in order, up to one that reaches beyond it. */
export function unmapRange(table: IoPageTable, start: bigint, last: bigint): Unmapped {
  const steps = unmapInSteps(table, start, last);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * The same in steps. Between them others find some of the mappings gone, as they do in a kernel, which lets its lock go
 * after each.
 */
export function* unmapInSteps(table: IoPageTable, start: bigint, last: bigint): Generator<void, Unmapped> {
  let bytes = 0n;
  let count = 0;
  for (;;) {
    const flat = start < NUMBERS_END ? table.removeFlat(Number(start), numberBelow(last), FLAT_PER_STEP) : 0;
    bytes += BigInt(flat);
    const area = table.areas.meeting(start, last);
    if (!area) return { bytes, cut: undefined };
    if (flat > 0) {
      yield;
      continue;
    }
    if (area.locks > 0) return { bytes, cut: undefined, locked: area };
    if (area.start < start || area.last > last) return { bytes, cut: area };
    table.remove(area);
    bytes += area.length;
    if (++count % AREAS_PER_STEP === 0) yield;
  }
}

/** The address, or the last one that a number has. */
function numberBelow(address: bigint): number {
  return address < NUMBERS_END ? Number(address) : Number.MAX_SAFE_INTEGER;
}

export function unmapAll(table: IoPageTable): Unmapped {
  return unmapRange(table, ALL_ADDRESSES.start, ALL_ADDRESSES.last);
}

/** EBUSY for an unmap that stopped at a locked mapping. */
export function refuseLocked({ locked }: Unmapped): void {
  if (locked) fail("EBUSY", `${locked.label} is held by a hardware queue; destroy that first`);
}

/** The reason for an unmap that stopped. */
export function cutText(start: bigint, last: bigint, cut: Area): string {
  return `${hexRange(start, last)} would cut ${cut.label}; mappings are unmapped whole`;
}

/**
 * Splits the mapping that `iova` is in behind that byte, where there is one (io_pagetable.c:iopt_cut_iova,
 * iopt_area_split). A mapping whose first byte it is stays whole, as in the kernel.
 */
export function cutAfter(table: IoPageTable, iova: bigint): void {
  const area = table.areas.meeting(iova, iova);
  if (!area || iova === area.start || iova === area.last) return;
  if (area.kind === "dmabuf") fail("EOPNOTSUPP", `${area.label} is of a dma-buf and is not split`);
  const at = iova + 1n;
  const mask = table.alignment - 1n;
  if ((at | area.offsetOf(at)) & mask) {
    fail("EINVAL", `${area.label} can be split at multiples of ${hex(table.alignment)} only, not at ${hex(at)}`);
  }
  if (area.accesses > 0)
    fail("EINVAL", `the driver of a mediated device holds pages of ${area.label}: it cannot be split`);
  if (area.holder && !table.largePagesDisabled) {
    fail("EINVAL", `${area.label} may be in the page tables as large pages and cannot be split`);
  }
  const left = part(area, area.start, at - area.start);
  const right = part(area, at, area.last - iova);
  if (area.holder) {
    left.holder = left.pageRange;
    right.holder = right.pageRange;
    area.pages.split(area.holder, [left.holder, right.holder]);
  }
  table.split(area, [left, right]);
}

function part(area: Area, start: bigint, length: bigint): Area {
  return Area.of(start, length, { pages: area.pages, startByte: area.offsetOf(start) }, area);
}
