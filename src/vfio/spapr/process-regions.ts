import type { AddressSpace } from "../../kernel/address-space.ts";
import type { MemoryRegion } from "./memory-region.ts";

/** The regions of a process, for all its containers. A process that is gone takes its list along. */
const ofProcess = new WeakMap<AddressSpace, ProcessRegions>();

export function regionsOf(space: AddressSpace): ProcessRegions {
  let regions = ofProcess.get(space);
  if (regions === undefined) {
    regions = new ProcessRegions();
    ofProcess.set(space, regions);
  }
  return regions;
}

/**
 * The memory that a process registered (mm->context.iommu_group_mem_list): regions that do not overlap, in order. Pages
 * of 4 KiB.
 */
export class ProcessRegions {
  readonly #regions: MemoryRegion[] = [];
  /** By the number that TCEs name them with. */
  readonly #byId: (MemoryRegion | undefined)[] = [];
  readonly #freeIds: number[] = [];
  /** Of the last lookup: pages come in runs. */
  #last: MemoryRegion | undefined;

  get size(): number {
    return this.#regions.length;
  }

  [Symbol.iterator](): Iterator<MemoryRegion> {
    return this.#regions.values();
  }

  /** The region with exactly this start and length. */
  exact(startPage: number, pages: number): MemoryRegion | undefined {
    const region = this.#regions[this.#after(startPage) - 1];
    return region?.startPage === startPage && region.pages === pages ? region : undefined;
  }

  /** The region that all of these pages lie in. */
  holding(page: number, pages: number): MemoryRegion | undefined {
    let region = this.#last;
    if (region === undefined || page < region.startPage || page >= region.startPage + region.pages) {
      region = this.#regions[this.#after(page) - 1];
      this.#last = region;
    }
    return region !== undefined && page + pages <= region.startPage + region.pages ? region : undefined;
  }

  /** A region that has pages in common with these. */
  overlapping(startPage: number, pages: number): MemoryRegion | undefined {
    const region = this.#regions[this.#after(startPage + pages - 1) - 1];
    return region !== undefined && region.startPage + region.pages > startPage ? region : undefined;
  }

  /** Adds a region that overlaps none. */
  add(region: MemoryRegion): void {
    this.#regions.splice(this.#after(region.startPage), 0, region);
    region.id = this.#freeIds.pop() ?? this.#byId.length;
    this.#byId[region.id] = region;
  }

  remove(region: MemoryRegion): void {
    this.#regions.splice(this.#after(region.startPage) - 1, 1);
    this.#byId[region.id] = undefined;
    this.#freeIds.push(region.id);
    this.#last = undefined;
  }

  /** The region that a TCE names. */
  byId(id: number): MemoryRegion {
    return this.#byId[id]!;
  }

  /** How many regions begin at or before a page. */
  #after(page: number): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#regions[middle]!.startPage <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
