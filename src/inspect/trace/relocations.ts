import type { RequestRow, StructRow } from "../../uapi/requests/request-row.ts";
import type { StructView } from "../../uapi/struct-view.ts";
import type { Relocation } from "../replay/operation.ts";

/** What the numbers in an argument stand for. */
export interface Known {
  /** Where an address points; undefined where it is a number like others. */
  place(address: number): { readonly buf?: string; readonly add: number } | undefined;
  /**
   * The name of the file behind a descriptor that the model asked for; null for one that is not open, undefined when it
   * did not ask.
   */
  file(fd: number): string | null | undefined;
}

/**
 * Where a request's argument holds addresses and descriptors, whose numbers differ from run to run.
 * @param view of the argument's bytes
 */
export function findRelocations(row: RequestRow, bytes: Uint8Array, view: StructView, known: Known): Relocation[] {
  const found: Relocation[] = [];
  const pointer = (off: number) => {
    if (off + 8 > bytes.length) return;
    const address = view.u64(off);
    if (address === 0n || address > BigInt(Number.MAX_SAFE_INTEGER)) return;
    const place = known.place(Number(address));
    if (place) found.push({ off, w: 8, ...place });
  };
  const descriptor = (off: number) => {
    const name = off + 4 <= bytes.length ? known.file(view.s32(off)) : undefined;
    if (name === null) found.push({ off, w: 4, closed: true });
    else if (name !== undefined) found.push({ off, w: 4, fd: name });
  };
  if (row.argument === "fd") descriptor(0);
  if (row.struct) visit(row.struct, view, bytes.length, 0, { pointer, descriptor });
  return found;
}

interface Visitor {
  readonly pointer: (off: number) => void;
  readonly descriptor: (off: number) => void;
}

/** Everything that an argument may hold which is an address or a descriptor. */
function visit(struct: StructRow, view: StructView, length: number, at: number, visitor: Visitor): void {
  const { layout, pointers = [], fds = [] } = struct;
  for (const field of pointers) visitor.pointer(at + layout.offsets[field]!);
  for (const field of fds) visitor.descriptor(at + layout.offsets[field]!);
  if (at + layout.size > length) return;
  const value = layout.read(view, at);
  for (const [field, inner] of Object.entries(struct.inner?.(value) ?? {})) {
    visit(inner, view, length, at + layout.offsets[field]!, visitor);
  }
  const behind = struct.behind?.(value);
  const start = at + layout.size;
  if (behind?.kind === "struct") visit(behind.struct, view, length, start, visitor);
  if (behind?.kind === "fds") {
    const count = Math.min(behind.count, Math.floor((length - start) / 4));
    for (let i = 0; i < count; i++) visitor.descriptor(start + 4 * i);
  }
}
