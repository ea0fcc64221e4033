import { addressIn, type MappedDma, walkPages } from "../../iommu/dma-walk.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";

const SMALLEST_SHIFT = 12;

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
    this.#shifts = [30, 21].filter((shift) => (unit.pageSizes & (1n << BigInt(shift))) !== 0n);
  }

  find(page: number): MappedPiece | undefined {
    const address = addressIn(page, 0);
    const area = this.#table.areas.meeting(address, address);
    if (!area) return undefined;
    const fits = this.#shifts.find((shift) => {
      const bytes = 1n << BigInt(shift);
      const start = address - (address % bytes);
      return start >= area.start && start + bytes - 1n <= area.last;
    });
    const { writeable: write } = area;
    const read = area.readable || (write && this.#unit.writeImpliesRead);
    return { shift: fits ?? SMALLEST_SHIFT, read, write };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, into, false) === undefined;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, from, true) === undefined;
  }
}
