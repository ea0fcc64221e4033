import { viewOf } from "../../uapi/layout.ts";
import { VfioBitmap, VfioIommuType1DirtyBitmapGet } from "../../uapi/vfio-type1.ts";
import type { Relocation } from "../replay/recording.ts";
import { fdArray, type RequestFacts } from "../requests.ts";
import type { Place } from "./replayed-memory.ts";

/**
 * Where a request's structure holds addresses and descriptors, whose numbers differ from run to run.
 * @param bytes of the structure
 * @param placeOf where an address points
 * @param looked names of files by descriptor
 */
export function findRelocations(
  facts: RequestFacts,
  bytes: Uint8Array,
  placeOf: (address: number) => Place | undefined,
  looked: ReadonlyMap<number, string>,
): Relocation[] {
  const view = viewOf(bytes);
  const found: Relocation[] = [];
  const pointer = (off: number) => {
    if (off + 8 > bytes.length) return;
    const address = view.getBigUint64(off, true);
    if (address === 0n || address > BigInt(Number.MAX_SAFE_INTEGER)) return;
    const place = placeOf(Number(address));
    if (place) found.push({ off, w: 8, ...place });
  };
  const descriptor = (off: number) => {
    const name = off + 4 <= bytes.length ? looked.get(view.getInt32(off, true)) : undefined;
    if (name !== undefined) found.push({ off, w: 4, fd: name });
  };
  for (const field of facts.pointers ?? []) pointer(facts.layout!.offsets[field]!);
  for (const field of facts.fds ?? []) descriptor(facts.layout!.offsets[field]!);
  const size = facts.layout?.size ?? 0;
  if (facts.tail === "unmap-bitmap") pointer(size + VfioBitmap.offsets.data);
  if (facts.tail === "dirty-bitmap")
    pointer(size + VfioIommuType1DirtyBitmapGet.offsets.bitmap + VfioBitmap.offsets.data);
  const { at, count } = fdArray(facts, bytes);
  for (let i = 0; i < count; i++) descriptor(at + 4 * i);
  return found;
}
