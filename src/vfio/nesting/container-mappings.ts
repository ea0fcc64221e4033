import { addressToPage, PAGE_SHIFT } from "../../address/pages.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "../type1/mapping-table.ts";

/** Sizes of pages that the IOMMU can use where a mapping has room for them. */
const SHIFTS = [30, 21] as const;

/** A container's mappings as the IOMMU walks them: guest physical addresses are its IOVAs. */
export class ContainerMappings implements Mappings {
  readonly #iommu: Type1Iommu;
  readonly #dma: DmaTarget;

  constructor(iommu: Type1Iommu, dma: DmaTarget) {
    this.#iommu = iommu;
    this.#dma = dma;
  }

  find(address: bigint): MappedPiece | undefined {
    const iommu = this.#iommu;
    const { mappings } = iommu;
    const { byIova } = mappings;
    const page = addressToPage(address);
    if (!byIova.overlaps(page, 1)) return undefined;
    const state = mappings.flagsOf(byIova.value);
    if (!(state & MAP_PINNED)) return undefined;
    const write = (state & MAP_WRITE) !== 0;
    const read = (state & MAP_READ) !== 0 || (write && iommu.domains.some(({ unit }) => unit.writeImpliesRead));
    const fits = SHIFTS.find((shift) => {
      const pages = 2 ** (shift - PAGE_SHIFT);
      const start = page - (page % pages);
      return start >= byIova.start && start + pages <= byIova.start + byIova.pages;
    });
    return { shift: fits ?? PAGE_SHIFT, read, write };
  }

  read(address: bigint, into: Uint8Array): boolean {
    return this.#dma.read(address, into) === undefined;
  }

  write(address: bigint, from: Uint8Array): boolean {
    return this.#dma.write(address, from) === undefined;
  }
}
