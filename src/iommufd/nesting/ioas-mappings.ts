import { PAGE_SIZE } from "../../address/pages.ts";
import { type MappedDma, walkPages } from "../../iommu/dma-walk.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import { LARGE_PAGES, shiftOfPage } from "../../iommu/large-pages.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";

/** The mappings of an address space as the IOMMU of PASIDs walks them for one page table. */
export class IoasMappings implements Mappings {
  readonly #table: IoPageTable;
  readonly #unit: IommuUnit;
  readonly #dma: MappedDma;
  readonly #shifts: readonly number[];

  /**
   * @param unit what the page table is like
   * @param dma the page table's own way to memory
   */
  constructor(table: IoPageTable, unit: IommuUnit, dma: MappedDma) {
    this.#table = table;
    this.#unit = unit;
    this.#dma = dma;
    this.#shifts = LARGE_PAGES.filter((shift) => (unit.pageSizes & (1n << BigInt(shift))) !== 0n);
  }

  find(page: number): MappedPiece | undefined {
    const area = this.#table.areas.at(page, 0);
    if (!area) return undefined;
    const { from, to, writeable: write } = area;
    const read = area.readable || (write && this.#unit.writeImpliesRead);
    return { shift: shiftOfPage(this.#shifts, page, from / PAGE_SIZE, to / PAGE_SIZE), read, write };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, into, false) === undefined;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, from, true) === undefined;
  }
}
