import type { DirtyPages } from "../../address/dirty-pages.ts";
import { PAGE_SIZE } from "../../address/pages.ts";
import type { DmaFault } from "../../iommu/dma-target.ts";
import { addressIn, MappedDma, type Met, moved, pieceOf, refused } from "../../iommu/dma-walk.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { hex } from "../../kernel/errors.ts";
import type { Area } from "./area.ts";
import type { IoPageTable } from "./io-page-table.ts";

const LAST = 2n ** 64n - 1n;

/** DMA of devices that are attached to an address space: through its mappings to the memory that they hold. */
export class TableDma extends MappedDma {
  readonly #table: IoPageTable;
  readonly #unit: IommuUnit;
  readonly #dirty: DirtyPages | undefined;

  /** @param dirty what notes the pages that are written, where the page table was made for that */
  constructor(table: IoPageTable, unit: IommuUnit, dirty: DirtyPages | undefined) {
    super();
    this.#table = table;
    this.#unit = unit;
    this.#dirty = dirty;
  }

  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const area = this.#table.areas.at(page, within);
    if (!area) return this.#miss(addressIn(page, within), bytes.length - done);
    const before = page * PAGE_SIZE;
    const count = Math.min(bytes.length - done, area.to - before - within);
    if (!(write ? area.writeable : this.#isReadable(area)))
      return refused(count, () =>
        write ? `${area.label} is read-only (no WRITEABLE)` : `${area.label} is write-only (no READABLE)`,
      );
    const piece = pieceOf(bytes, done, count);
    return moved(piece, () => {
      const offset = before - area.from + within;
      if (!write) return area.read(offset, piece);
      area.write(offset, piece);
      this.#dirty?.written(addressIn(page, within), piece.length);
    });
  }

  #isReadable(area: Area): boolean {
    return area.readable || (area.writeable && this.#unit.writeImpliesRead);
  }

  /** Nothing is mapped at an address, of an access that has so many bytes left. */
  #miss(at: bigint, left: number): Met<DmaFault> {
    const end = this.#table.areas.meeting(at, LAST)?.start ?? LAST + 1n;
    return refused(end - at < left ? Number(end - at) : left, () => this.#explain(at));
  }

  #explain(at: bigint): string {
    const reserved = this.#table.reservedIn(at, at);
    return reserved ? `${hex(at)} is in ${reserved.label}: no memory is there` : "nothing is mapped there";
  }
}
