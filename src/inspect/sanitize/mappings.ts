import { hexRange } from "../../kernel/errors.ts";
import type { Pin } from "../watch/watcher.ts";

/** A call of the program, for reports: "call 9 (VFIO_IOMMU_MAP_DMA, iova 0x10000-0x10fff)". */
export type CallText = string;

/** A DMA mapping that a program made. Bytes; `last` belongs to it. */
export interface Mapping {
  readonly first: bigint;
  readonly last: bigint;
  readonly read: boolean;
  readonly write: boolean;
  readonly madeBy: CallText;
  /** Memory that is held for it. */
  readonly pins: Set<Pin>;
}

/** One that is gone. */
export interface PastMapping {
  readonly first: bigint;
  readonly last: bigint;
  readonly madeBy: CallText;
  readonly removedBy: CallText;
}

/** So many mappings that are gone are remembered for each address space. */
const PAST_MAX = 4096;

/** What a program has mapped in one I/O address space, and what it had. */
export class IovaSpace {
  readonly live = new Map<bigint, Mapping>();
  readonly past: PastMapping[] = [];

  add(mapping: Mapping): void {
    this.live.set(mapping.first, mapping);
  }

  remove(mapping: Mapping, removedBy: CallText): void {
    this.live.delete(mapping.first);
    const { first, last, madeBy } = mapping;
    if (this.past.length >= PAST_MAX) this.past.shift();
    this.past.push({ first, last, madeBy, removedBy });
  }

  /** Mappings that begin in a range. */
  *within(first: bigint, last: bigint): Generator<Mapping> {
    const exact = this.live.get(first);
    if (exact?.last === last) {
      yield exact;
      return;
    }
    for (const mapping of [...this.live.values()]) if (mapping.first >= first && mapping.first <= last) yield mapping;
  }

  at(iova: bigint): Mapping | undefined {
    for (const mapping of this.live.values()) if (iova >= mapping.first && iova <= mapping.last) return mapping;
    return undefined;
  }

  wasAt(iova: bigint): PastMapping | undefined {
    return this.past.findLast(({ first, last }) => iova >= first && iova <= last);
  }
}

export function rangeText({ first, last }: { readonly first: bigint; readonly last: bigint }): string {
  return `iova ${hexRange(first, last)}`;
}
