import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import { Area, type AreaAccess } from "./area.ts";
import { chooseIova } from "./choose-iova.ts";
import { type Domain, type IoPageTable, refuseArea } from "./io-page-table.ts";
import type { MappedPages } from "./mapped-pages.ts";

const END = 2n ** 64n;

/** A slice of memory to map. Bytes. */
export interface Slice {
  readonly pages: MappedPages;
  /** From the first page of `pages`. */
  readonly startByte: bigint;
  readonly length: bigint;
}

/**
 * Maps slices one behind the other, all or none. Checks in the order of io_pagetable.c:iopt_alloc_area_pages and
 * iopt_insert_area.
 * @param fixed where; the kernel chooses when it is undefined
 * @param hint address of the memory, whose alignment a choice keeps
 * @returns the first IOVA
 */
export function mapSlices(
  table: IoPageTable,
  slices: readonly Slice[],
  fixed: bigint | undefined,
  hint: bigint,
  access: AreaAccess,
): bigint {
  const length = slices.reduce((sum, slice) => sum + slice.length, 0n);
  if (length === 0n) fail("EINVAL", "the length is 0");
  const mask = table.alignment - 1n;
  if (length & mask) fail("EINVAL", `length ${hex(length)} is not a multiple of ${hex(table.alignment)}`);
  if (fixed !== undefined) checkIova(table, fixed, length);
  const iova = fixed ?? chooseIova(table, hint, length);
  const areas: Area[] = [];
  let at = iova;
  for (const slice of slices) {
    areas.push(makeArea(table, at, slice, access));
    at += slice.length;
  }
  if (table.domains.length > 0) fillAll(areas, table.domains);
  for (const area of areas) table.add(area);
  return iova;
}

/** Maps memory that nobody maps yet; it goes when that fails. As mapSlices(). */
export function mapNew(table: IoPageTable, slice: Slice, fixed: bigint | undefined, access: AreaAccess): bigint {
  try {
    return mapSlices(table, [slice], fixed, hintOf(slice), access);
  } finally {
    slice.pages.put();
  }
}

/** The address whose alignment a choice of IOVA keeps: where the slice's memory is. */
export function hintOf({ pages, startByte }: Slice): bigint {
  return pages.address + startByte;
}

/** io_pagetable.c:iopt_check_iova */
function checkIova(table: IoPageTable, iova: bigint, length: bigint): void {
  const last = iova + length - 1n;
  if (iova & (table.alignment - 1n)) fail("EINVAL", `iova ${hex(iova)} is not a multiple of ${hex(table.alignment)}`);
  if (last >= END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(length)} runs past 2^64`);
  const reserved = table.reservedIn(iova, last);
  if (reserved) fail("EINVAL", `iova ${hexRange(iova, last)} overlaps ${reserved.label}`);
  const area = table.areas.meeting(iova, last);
  if (area) fail("EEXIST", `iova ${hexRange(iova, last)} overlaps ${area.label}; unmap that first`);
}

function makeArea(table: IoPageTable, iova: bigint, slice: Slice, access: AreaAccess): Area {
  faultPoint("failslab");
  if (access.writeable && !slice.pages.writable) {
    fail("EPERM", "the mapping that is copied is not writeable, so a writeable copy cannot be made");
  }
  const area = Area.of(iova, slice.length, slice, access);
  const offset = area.offsetIn(table.pageSize);
  if (offset & (table.alignment - 1n)) {
    fail("EINVAL", `the memory begins ${hex(offset)} bytes into a page, the IOMMU needs whole pages`);
  }
  if (area.last >= END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(slice.length)} runs past 2^64`);
  return area;
}

function fillAll(areas: readonly Area[], domains: readonly Domain[]): void {
  const filled: Area[] = [];
  try {
    for (const area of areas) {
      area.fill();
      filled.push(area);
      for (const domain of domains) refuseArea(area, domain);
    }
  } catch (error) {
    for (const area of filled) area.unfill();
    throw error;
  }
}
