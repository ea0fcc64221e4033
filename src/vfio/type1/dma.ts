import { addressToPage, PAGE_SIZE, pageRunBytes } from "../../address/pages.ts";
import type { DmaFault } from "../../iommu/dma-target.ts";
import { MappedDma, type Met, moved, pieceOf, refused } from "../../iommu/dma-walk.ts";
import type { MappingListener } from "../../iommu/mapping-feed.ts";
import { hex, hexRange } from "../../kernel/errors.ts";
import type { Type1Domain, Type1Iommu } from "./iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/** DMA of the devices in a type1 container: through its mappings to the pages that they hold. */
export class Type1Dma extends MappedDma {
  readonly #iommu: Type1Iommu;

  constructor(iommu: Type1Iommu) {
    super();
    this.#iommu = iommu;
  }

  /**
   * Where an access goes: the page of the owner's memory behind a page of IOVA; -1 when nothing lets it through.
   * Allocates nothing.
   * @param access MAP_READ or MAP_WRITE
   */
  translate(page: number, access: number): number {
    const { mappings } = this.#iommu;
    const slot = mappings.slotAt(page);
    if (slot < 0 || !this.#allows(mappings.flagsOf(slot), access)) return -1;
    return mappings.vaddrPageOf(slot) + page - mappings.startOf(slot);
  }

  watchMappings(listener: MappingListener): () => void {
    const { mappings, watchers } = this.#iommu;
    const { byIova } = mappings;
    for (let more = byIova.first(); more; more = byIova.next())
      if (mappings.flagsOf(byIova.value) & MAP_PINNED) listener.mapped(this.#iommu.rangeHere());
    watchers.add(listener);
    return () => watchers.delete(listener);
  }

  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const { mappings } = this.#iommu;
    const access = write ? MAP_WRITE : MAP_READ;
    const slot = mappings.slotAt(page);
    if (slot < 0 || !this.#allows(mappings.flagsOf(slot), access))
      return refused(Math.min(bytes.length - done, PAGE_SIZE - within), (at) => this.#explain(at, access));
    const offset = (page - mappings.startOf(slot)) * PAGE_SIZE + within;
    const piece = pieceOf(bytes, done, mappings.pagesOf(slot) * PAGE_SIZE - offset);
    const vaddr = mappings.vaddrPageOf(slot) * PAGE_SIZE;
    const space = mappings.spaceOf(slot);
    const pin = mappings.pinOf(slot);
    return moved(piece, () => {
      if (write) space.writePinned(pin, vaddr, offset, piece);
      else space.readPinned(pin, vaddr, offset, piece);
    });
  }

  #explain(at: bigint, access: number): string {
    const hit = this.#iommu.mappings.byIova.overlaps(addressToPage(at), 1);
    return hit ? this.#refusal(access) : this.#explainMiss(at);
  }

  #allows(flags: number, access: number): boolean {
    if (!(flags & MAP_PINNED)) return false;
    if (flags & access) return true;
    // write-only cannot be said in every page table
    return access === MAP_READ && (flags & MAP_WRITE) !== 0 && this.#iommu.domains.some(impliesRead);
  }

  /** Why the mapping at the cursor does not let the access through. */
  #refusal(access: number): string {
    const iommu = this.#iommu;
    const flags = iommu.mappings.flagsOf(iommu.mappings.byIova.value);
    if (!(flags & MAP_PINNED)) return `${iommu.describeHere()} is not in the IOMMU's tables`;
    return access === MAP_READ
      ? `${iommu.describeHere()} is write-only (no VFIO_DMA_MAP_FLAG_READ)`
      : `${iommu.describeHere()} is read-only (no VFIO_DMA_MAP_FLAG_WRITE)`;
  }

  #explainMiss(at: bigint): string {
    const iommu = this.#iommu;
    for (const { groups } of iommu.domains) {
      for (const { group } of groups) {
        const region = group.iommuGroup.reservedRegions.find(({ start, last }) => at >= start && at <= last);
        if (region)
          return `${hex(at)} is in the reserved range ${hexRange(region.start, region.last)} (${region.type}): no memory is there`;
      }
    }
    return `nothing is mapped there${this.#describeNearest(at)}`;
  }

  #describeNearest(at: bigint): string {
    const { byIova } = this.#iommu.mappings;
    const page = addressToPage(at);
    const below = byIova.seekBefore(page) ? pageRunBytes(byIova.start, byIova.pages) : undefined;
    const above = byIova.seek(page) ? pageRunBytes(byIova.start, byIova.pages) : undefined;
    const isBelow = below && (above === undefined || at - below.last <= above.start - at);
    const best = isBelow ? below : above;
    if (best === undefined) return "; the container has no mapping";
    return `; the nearest mapping is ${hexRange(best.start, best.last)}`;
  }
}

function impliesRead({ unit }: Type1Domain): boolean {
  return unit.writeImpliesRead;
}
