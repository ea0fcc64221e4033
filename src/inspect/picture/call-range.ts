import { hex } from "../../kernel/errors.ts";
import type { RequestRow } from "../../uapi/requests/request-row.ts";
import type { AddressRange } from "./event.ts";

/** The numbers in the structure of a request that is about addresses. */
export type ArgumentNumbers = Readonly<Record<string, bigint>>;

const LAST = (1n << 64n) - 1n;

/** Of the structure of a request that is about a range or names an address space; empty for others. */
export function argumentNumbers(
  row: RequestRow | undefined,
  bytes: Uint8Array,
  littleEndian: boolean,
): ArgumentNumbers {
  const layout = row?.struct?.layout;
  if (!layout || bytes.length < layout.size) return {};
  if (!row.range && !("ioas_id" in layout.fields) && !("dst_ioas_id" in layout.fields)) return {};
  const entries = Object.entries(layout.decode(bytes, littleEndian)).flatMap(([field, value]) =>
    typeof value === "number" || typeof value === "bigint" ? [[field, BigInt(value)] as const] : [],
  );
  return Object.fromEntries(entries);
}

/** The address space that a request of an iommufd names. */
export function idOf(numbers: ArgumentNumbers): number | undefined {
  const id = numbers.ioas_id ?? numbers.dst_ioas_id;
  return id === undefined ? undefined : Number(id);
}

/** The range that a request is about. */
export function rangeOf(row: RequestRow | undefined, numbers: ArgumentNumbers): AddressRange | undefined {
  const first = row?.range && numbers[row.range.iova];
  const length = row?.range && numbers[row.range.length];
  if (first === undefined || length === undefined || length === 0n) return undefined;
  const last = first + length - 1n;
  return [hex(first), hex(last < LAST ? last : LAST)];
}
