import { type DmaFault, type DmaTarget, unlessGone } from "../../iommu/dma-target.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { hex } from "../../kernel/errors.ts";
import type { Area } from "./area.ts";
import type { DirtyPages } from "./dirty-pages.ts";
import type { IoPageTable } from "./io-page-table.ts";

const LAST = 2n ** 64n - 1n;

/** DMA of devices that are attached to an address space: through its mappings to the memory that they hold. */
export class TableDma implements DmaTarget {
  readonly #table: IoPageTable;
  readonly #unit: IommuUnit;
  readonly #dirty: DirtyPages | undefined;

  /** @param dirty what notes the pages that are written, where the page table was made for that */
  constructor(table: IoPageTable, unit: IommuUnit, dirty: DirtyPages | undefined) {
    this.#table = table;
    this.#unit = unit;
    this.#dirty = dirty;
  }

  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, into, (area, at, piece) => {
      if (!area.readable && !(area.writeable && this.#unit.writeImpliesRead)) {
        piece.fill(0);
        return `${area.label} is write-only (no READABLE)`;
      }
      const gone = unlessGone(() => area.pages.read(area.offsetOf(at), piece));
      if (gone !== undefined) piece.fill(0);
      return gone;
    });
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, from, (area, at, piece) => {
      if (!area.writeable) return `${area.label} is read-only (no WRITEABLE)`;
      const gone = unlessGone(() => area.pages.write(area.offsetOf(at), piece));
      if (gone === undefined) this.#dirty?.written(at, piece.length);
      return gone;
    });
  }

  /** Takes the mappings that an access meets one after the other; what lies between them faults, and reads as zeros. */
  #walk(
    iova: bigint,
    bytes: Uint8Array,
    each: (area: Area, at: bigint, piece: Uint8Array) => string | undefined,
  ): DmaFault | undefined {
    let fault: DmaFault | undefined;
    for (let done = 0; done < bytes.length; ) {
      const at = BigInt.asUintN(64, iova + BigInt(done));
      const left = BigInt(bytes.length - done);
      const next = this.#table.areas.meeting(at, LAST);
      const area = next && next.start <= at ? next : undefined;
      const end = area ? area.last + 1n : (next?.start ?? LAST + 1n);
      const count = Number(end - at < left ? end - at : left);
      const piece = bytes.subarray(done, done + count);
      const reason = area ? each(area, at, piece) : this.#miss(at, piece);
      if (reason !== undefined) fault ??= { iova: at, reason };
      done += count;
    }
    return fault;
  }

  #miss(at: bigint, piece: Uint8Array): string {
    piece.fill(0);
    const reserved = this.#table.reservedIn(at, at);
    return reserved ? `${hex(at)} is in ${reserved.label}: no memory is there` : "nothing is mapped there";
  }
}
