import { PAGE_SHIFT } from "../../address/pages.ts";
import { walkPages } from "../../iommu/dma-walk.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import { Type1Dma } from "../type1/dma.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "../type1/mapping-table.ts";

/** Sizes of pages that the IOMMU can use where a mapping has room for them: log2 of their bytes, and pages of 4 KiB. */
const LARGE = [
  { shift: 30, pages: 2 ** 18 },
  { shift: 21, pages: 2 ** 9 },
] as const;

/** A container's mappings as the IOMMU walks them: guest physical addresses are its IOVAs. */
export class ContainerMappings implements Mappings {
  readonly #iommu: Type1Iommu;
  readonly #dma: Type1Dma;

  constructor(iommu: Type1Iommu) {
    this.#iommu = iommu;
    this.#dma = new Type1Dma(iommu);
  }

  find(page: number): MappedPiece | undefined {
    const iommu = this.#iommu;
    const { mappings } = iommu;
    const slot = mappings.slotAt(page);
    if (slot < 0) return undefined;
    const state = mappings.flagsOf(slot);
    if (!(state & MAP_PINNED)) return undefined;
    const write = (state & MAP_WRITE) !== 0;
    const read = (state & MAP_READ) !== 0 || (write && iommu.domains.some(({ unit }) => unit.writeImpliesRead));
    const start = mappings.startOf(slot);
    return { shift: shiftIn(page, start, start + mappings.pagesOf(slot)), read, write };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, into, false) === undefined;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, from, true) === undefined;
  }
}

/** log2 of the bytes of the largest page around a page of 4 KiB that a run from `start` to before `end` has room for. */
function shiftIn(page: number, start: number, end: number): number {
  for (const { shift, pages } of LARGE) {
    // pages of a power of two: the remainder is some of the low bits
    const first = page - (page & (pages - 1));
    if (first >= start && first + pages <= end) return shift;
  }
  return PAGE_SHIFT;
}
