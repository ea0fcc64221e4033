import { roundUp } from "./layout.ts";
import { StructView } from "./struct-view.ts";
import { VfioInfoCapHeader } from "./vfio.ts";

/**
 * The list of capabilities behind an info structure (drivers/vfio/vfio_main.c:vfio_info_cap_add(),
 * vfio_info_cap_shift()): each begins with a VfioInfoCapHeader whose `next` counts from the start of the info
 * structure.
 */

/** A capability to be put into a chain. */
export interface CapabilityStructure {
  readonly id: number;
  readonly version: number;
  /** The whole structure. The chain fills in its header. */
  readonly structure: Uint8Array;
  /** Of a structure that ends with a list: where that begins, and the bytes of an entry. */
  readonly entries?: { readonly first: number; readonly size: number };
}

/** What a capability says. */
export interface Capability {
  readonly id: number;
  readonly version: number;
  /** What follows the header. */
  readonly body: Uint8Array;
}

/** A capability as it was found. */
export interface ParsedCapability extends Capability {
  /** Offset of the header from the start of the info structure. */
  readonly offset: number;
  /** As in the header: the offset of the next one, 0 in the last. */
  readonly next: number;
}

/** A chain that no kernel would make. */
export class CapabilityChainError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CapabilityChainError";
  }
}

const HEADER = VfioInfoCapHeader.size;
/**
 * Headers consist of u16 and u32, so a reader needs no more; a kernel before 6.6 really makes chains that are not
 * 8-aligned.
 */
const ALIGNMENT = VfioInfoCapHeader.align;

/**
 * The bytes of a chain that begins `base` bytes behind the start of the info structure (its cap_offset).
 * @param padTo8 whether each capability is padded to 8 bytes, as kernels do since 6.6. Before, the 12 bytes of
 * DMA_AVAIL
 *   left the next one misaligned.
 * @param littleEndian the caller's byte order
 */
export function encodeCapabilityChain(
  base: number,
  capabilities: readonly CapabilityStructure[],
  padTo8: boolean,
  littleEndian = true,
): Uint8Array {
  const sizes = capabilities.map(({ structure: { length } }) => (padTo8 ? roundUp(length, 8) : length));
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new StructView(bytes, littleEndian);
  let at = 0;
  capabilities.forEach(({ id, version, structure }, i) => {
    const end = at + sizes[i]!;
    const next = i === capabilities.length - 1 ? 0 : base + end;
    bytes.set(structure, at);
    VfioInfoCapHeader.write(view, at, { id, version, next });
    at = end;
  });
  return bytes;
}

/**
 * Follows a chain through `info`, which begins with the info structure and ends where its argsz says. A capability does
 * not say how long it is, so its body reaches to the next header above it, or to the end.
 * @param first the structure's cap_offset; 0 means that there is no chain
 * @param fixedSize bytes of the info structure itself, where no capability can lie
 * @param littleEndian the kernel's byte order
 * @throws CapabilityChainError for a header that is outside, misaligned, or visited before
 */
export function parseCapabilityChain(
  info: Uint8Array,
  first: number,
  fixedSize: number,
  littleEndian = true,
): ParsedCapability[] {
  const view = new StructView(info, littleEndian);
  const found: { offset: number; id: number; version: number; next: number }[] = [];
  const visited = new Set<number>();
  for (let offset = first; offset !== 0; ) {
    check(offset, info.length, fixedSize, visited);
    visited.add(offset);
    const header = VfioInfoCapHeader.read(view, offset);
    found.push({ offset, ...header });
    offset = header.next;
  }
  const starts = [...visited, info.length].sort((a, b) => a - b);
  const endOf = new Map(starts.map((start, i) => [start, starts[i + 1]!]));
  return found.map((header) => {
    const end = endOf.get(header.offset)!;
    return { ...header, body: info.subarray(Math.min(header.offset + HEADER, end), end) };
  });
}

function check(offset: number, length: number, fixedSize: number, visited: Set<number>): void {
  const where = `capability at offset 0x${offset.toString(16)}`;
  if (offset < fixedSize)
    throw new CapabilityChainError(`${where} lies in the ${fixedSize} bytes of the info structure`);
  if (offset + HEADER > length) throw new CapabilityChainError(`${where} has no room for a header in ${length} bytes`);
  if (offset % ALIGNMENT !== 0) throw new CapabilityChainError(`${where} is not aligned to ${ALIGNMENT} bytes`);
  if (visited.has(offset)) throw new CapabilityChainError(`${where} comes twice: the chain is a loop`);
}
