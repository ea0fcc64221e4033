import { addressToPage, LAST_PAGE, PAGE_SIZE, pageRunBytes } from "../../address/pages.ts";
import { type DmaFault, type DmaTarget, unlessGone } from "../../iommu/dma-target.ts";
import { hex, hexRange } from "../../kernel/errors.ts";
import type { Type1Domain, Type1Iommu } from "./iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/** DMA of the devices in a type1 container: through its mappings to the pages that they hold. */
export class Type1Dma implements DmaTarget {
  readonly #iommu: Type1Iommu;

  constructor(iommu: Type1Iommu) {
    this.#iommu = iommu;
  }

  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, into, MAP_READ);
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, from, MAP_WRITE);
  }

  /**
   * Where an access goes: the page of the owner's memory behind a page of IOVA; -1 when nothing lets it through. Allocates nothing.
   * @param access MAP_READ or MAP_WRITE
   */
  translate(page: number, access: number): number {
    const { mappings } = this.#iommu;
    const slot = mappings.slotAt(page);
    if (slot < 0 || !this.#allows(mappings.flagsOf(slot), access)) return -1;
    return mappings.vaddrPageOf(slot) + page - mappings.startOf(slot);
  }

  /** Takes the mappings that an access meets one after the other; what lies between them faults, and reads as zeros. */
  #walk(iova: bigint, bytes: Uint8Array, access: number): DmaFault | undefined {
    const { mappings } = this.#iommu;
    let page = addressToPage(BigInt.asUintN(64, iova));
    let within = Number(iova & 0xfffn);
    let fault: DmaFault | undefined;
    for (let done = 0; done < bytes.length; ) {
      const left = bytes.length - done;
      const slot = mappings.slotAt(page);
      let count: number;
      if (slot >= 0 && this.#allows(mappings.flagsOf(slot), access)) {
        const offset = (page - mappings.startOf(slot)) * PAGE_SIZE + within;
        count = Math.min(left, mappings.pagesOf(slot) * PAGE_SIZE - offset);
        const piece = count === bytes.length ? bytes : bytes.subarray(done, done + count);
        const reason = this.#move(slot, offset, piece, access);
        if (reason !== undefined) {
          fault ??= { iova: BigInt.asUintN(64, iova + BigInt(done)), reason };
          if (access === MAP_READ) piece.fill(0);
        }
      } else {
        count = Math.min(left, PAGE_SIZE - within);
        fault ??= this.#fault(BigInt.asUintN(64, iova + BigInt(done)), access);
        if (access === MAP_READ) bytes.fill(0, done, done + count);
      }
      done += count;
      page += Math.floor((within + count) / PAGE_SIZE);
      within = (within + count) % PAGE_SIZE;
      // behind the last address is the first
      if (page > LAST_PAGE) page -= LAST_PAGE + 1;
    }
    return fault;
  }

  /** Moves the bytes of one mapping; returns why not. */
  #move(slot: number, offset: number, piece: Uint8Array, access: number): string | undefined {
    const { mappings } = this.#iommu;
    const vaddr = mappings.vaddrPageOf(slot) * PAGE_SIZE;
    const space = mappings.spaceOf(slot);
    const pin = mappings.pinOf(slot);
    return unlessGone(() => {
      if (access === MAP_READ) space.readPinned(pin, vaddr, offset, piece);
      else space.writePinned(pin, vaddr, offset, piece);
    });
  }

  #fault(at: bigint, access: number): DmaFault {
    const hit = this.#iommu.mappings.byIova.overlaps(addressToPage(at), 1);
    return { iova: at, reason: hit ? this.#refusal(access) : this.#explainMiss(at) };
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
