import { fail, hex, hexRange } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { IoPageTable } from "./io-page-table.ts";
import type { Slice } from "./map-area.ts";

const END = 2n ** 64n;

/**
 * The memory behind a range of IOVAs, to map it elsewhere (io_pagetable.c:iopt_get_pages).
 * @throws KernelError EINVAL, EOVERFLOW, ENOENT (not all of it is mapped)
 */
export function slicesOf(table: IoPageTable, iova: bigint, length: bigint): Slice[] {
  if (length === 0n) fail("EINVAL", "the length is 0");
  const last = iova + length - 1n;
  if (last >= END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(length)} runs past 2^64`);
  const slices: Slice[] = [];
  for (let at = iova; at <= last; ) {
    faultPoint("failslab");
    const area = table.areas.meeting(at, at);
    if (!area) fail("ENOENT", `of ${hexRange(iova, last)}, iova ${hex(at)} is not mapped`);
    const end = area.last < last ? area.last : last;
    slices.push({ pages: area.pages, startByte: area.offsetOf(at), length: end - at + 1n });
    at = end + 1n;
  }
  return slices;
}
