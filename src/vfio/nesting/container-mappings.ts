import { walkPages } from "../../iommu/dma-walk.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import { LARGE_PAGES, shiftOfPage } from "../../iommu/large-pages.ts";
import { Type1Dma } from "../type1/dma.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "../type1/mapping-table.ts";

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
    return { shift: shiftOfPage(LARGE_PAGES, page, start, start + mappings.pagesOf(slot)), read, write };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, into, false) === undefined;
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return walkPages(this.#dma, page, within, from, true) === undefined;
  }
}
