import { addressToPage, PAGE_SIZE, pageRunBytes } from "../../address/pages.ts";
import type { DmaFault, DmaTarget } from "../../iommu/dma-target.ts";
import { hex, hexRange } from "../../kernel/errors.ts";
import type { Type1Iommu } from "./iommu.ts";
import { MAP_PINNED, MAP_READ, MAP_WRITE } from "./mapping-table.ts";

/** DMA of the devices in a type1 container: through its mappings to the pages that they hold. */
export class Type1Dma implements DmaTarget {
  readonly #iommu: Type1Iommu;

  constructor(iommu: Type1Iommu) {
    this.#iommu = iommu;
  }

  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, into, MAP_READ, (slot, offset, piece) => {
      const { mappings } = this.#iommu;
      const vaddr = mappings.vaddrPage[slot]! * PAGE_SIZE;
      mappings.spaceOf(slot).readPinned(mappings.pin[slot]!, vaddr, offset, piece);
    });
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#walk(iova, from, MAP_WRITE, (slot, offset, piece) => {
      const { mappings } = this.#iommu;
      const vaddr = mappings.vaddrPage[slot]! * PAGE_SIZE;
      mappings.spaceOf(slot).writePinned(mappings.pin[slot]!, vaddr, offset, piece);
    });
  }

  /** Takes the mappings that an access meets one after the other; what lies between them faults, and reads as zeros. */
  #walk(
    iova: bigint,
    bytes: Uint8Array,
    access: number,
    each: (slot: number, offset: number, piece: Uint8Array) => void,
  ): DmaFault | undefined {
    const { byIova } = this.#iommu.mappings;
    let fault: DmaFault | undefined;
    for (let done = 0; done < bytes.length; ) {
      const at = BigInt.asUintN(64, iova + BigInt(done));
      const page = addressToPage(at);
      const within = Number(at & BigInt(PAGE_SIZE - 1));
      const left = bytes.length - done;
      const hit = byIova.overlaps(page, 1);
      const reason = hit ? this.#refusal(access) : this.#explainMiss(at);
      if (reason === undefined) {
        const offset = (page - byIova.start) * PAGE_SIZE + within;
        const count = Math.min(left, byIova.pages * PAGE_SIZE - offset);
        each(byIova.value, offset, bytes.subarray(done, done + count));
        done += count;
        continue;
      }
      fault ??= { iova: at, reason };
      const count = Math.min(left, PAGE_SIZE - within);
      if (access === MAP_READ) bytes.fill(0, done, done + count);
      done += count;
    }
    return fault;
  }

  /** Why the mapping at the cursor does not let the access through; undefined when it does. */
  #refusal(access: number): string | undefined {
    const iommu = this.#iommu;
    const flags = iommu.mappings.flags[iommu.mappings.byIova.value]!;
    if (!(flags & MAP_PINNED)) return `${iommu.describeHere()} is not in the IOMMU's tables`;
    // write-only cannot be said in every page table
    const allowed =
      flags & MAP_WRITE && iommu.domains.some(({ unit }) => unit.writeImpliesRead) ? flags | MAP_READ : flags;
    if (allowed & access) return undefined;
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
    let best: { start: bigint; last: bigint } | undefined;
    let distance = 0n;
    for (let more = byIova.first(); more; more = byIova.next()) {
      const run = pageRunBytes(byIova.start, byIova.pages);
      const gap = byIova.start > page ? run.start - at : at - run.last;
      if (best === undefined || gap < distance) {
        best = run;
        distance = gap;
      }
      if (byIova.start > page) break;
    }
    if (best === undefined) return "; the container has no mapping";
    return `; the nearest mapping is ${hexRange(best.start, best.last)}`;
  }
}
