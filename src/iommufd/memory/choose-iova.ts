import { holesIn, type IovaRange } from "../../address/iova-ranges.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { IoPageTable } from "./io-page-table.ts";

const ADDRESS_LAST = 2n ** 64n - 1n;
/** The largest alignment that is tried: a huge page (io_pagetable.c uses HPAGE_SIZE). */
const HUGE_PAGE = 2n ** 21n;

/**
 * Finds room for `length` bytes, in order of rising addresses and never at 0. The alignment of the memory is kept as
 * far as the length has use for it, so that large pages can be used; so is the offset in the page
 * (io_pagetable.c:iopt_alloc_iova).
 * @param address of the memory, or the offset into the file
 * @throws KernelError EOVERFLOW, EINVAL (aligned less than the page tables need), ENOSPC
 */
export function chooseIova(table: IoPageTable, address: bigint, length: bigint): bigint {
  if (length >= ADDRESS_LAST / 2n) fail("EOVERFLOW", `${hex(length)} bytes are more than half of the address space`);
  const alignment = alignmentFor(address, length);
  if (alignment < table.alignment) {
    fail("EINVAL", `memory at ${hex(address)} is not a multiple of ${hex(table.alignment)} bytes, as the IOMMU needs`);
  }
  const offset = address % table.pageSize;
  const outer = { start: table.pageSize, last: ADDRESS_LAST - table.pageSize };
  for (const window of windows(table, outer, length)) {
    const start = place(window, length, alignment, offset);
    if (start === undefined) continue;
    for (const hole of holes(table, { start, last: window.last }, length)) {
      const iova = place(hole, length, alignment, offset);
      if (iova !== undefined) return iova;
    }
  }
  fail(
    "ENOSPC",
    `there is no room for ${hex(length)} bytes aligned to ${hex(alignment)} (IOMMU_IOAS_ALLOW_IOVAS limits where)`,
  );
}

function alignmentFor(address: bigint, length: bigint): bigint {
  const ofLength = roundUpToPowerOfTwo(length);
  const ofAddress = address & -address;
  const alignment = address === 0n || ofLength < ofAddress ? ofLength : ofAddress;
  return alignment < HUGE_PAGE ? alignment : HUGE_PAGE;
}

function roundUpToPowerOfTwo(value: bigint): bigint {
  return 1n << BigInt((value - 1n).toString(2).length - (value === 1n ? 1 : 0));
}

/** Where the caller lets the kernel choose, as far as it is long enough. */
function windows(table: IoPageTable, outer: IovaRange, length: bigint): Iterable<IovaRange> {
  return table.allowed.size === 0 ? [outer] : table.allowed.within(outer.start, outer.last, length);
}

/** What of a window is neither mapped nor reserved and long enough, as it is asked for. */
function* holes(table: IoPageTable, window: IovaRange, length: bigint): Generator<IovaRange> {
  for (const { start, last } of holesIn(window, table.reserved)) yield* table.areas.holes(start, last, length);
}

/** io_pagetable.c:__alloc_iova_check_range: the first fitting address; a range of one byte never fits. */
function place({ start, last }: IovaRange, length: bigint, alignment: bigint, offset: bigint): bigint | undefined {
  const at = ((start + alignment - 1n) & -alignment) | offset;
  return at < last && last - at >= length - 1n ? at : undefined;
}
