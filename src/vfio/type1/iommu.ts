import { IovaRangeList } from "../../address/iova-ranges.ts";
import { PAGE_SIZE, pageRunBytes } from "../../address/pages.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { MappedRange, MappingListener } from "../../iommu/mapping-feed.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { hexRange } from "../../kernel/errors.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from "../../uapi/vfio-type1.ts";
import type { DmaUnmapListener } from "../backend.ts";
import type { CapabilitySource } from "../capability-source.ts";
import type { ModelContext } from "../model-context.ts";
import { DirtyBitmap } from "./dirty-bitmap.ts";
import { MAP_LOCK_CAPABLE, MAP_PINNED, MAP_READ, MAP_VADDR_INVALID, MAP_WRITE, MappingTable } from "./mapping-table.ts";

/** Groups behind one IOMMU page table (struct vfio_domain). */
export interface Type1Domain {
  readonly unit: IommuUnit;
  readonly groups: AttachedGroup[];
}

/** A group in the container (struct vfio_iommu_group). */
export interface AttachedGroup {
  readonly group: DmaGroup;
  /** Whether it can dirty only pages that it pinned (pinned_page_dirty_scope): mediated devices. */
  pinnedPageDirtyScope: boolean;
}

/** The largest bitmap that a mapping may need, in bits (vfio_iommu_type1.c: DIRTY_BITMAP_PAGES_MAX). */
const DIRTY_BITMAP_PAGES_MAX = 2 ** 31 - 1;

/** The state of a container's type1 backend (struct vfio_iommu), with what its requests share. */
export class Type1Iommu {
  readonly context: ModelContext;
  /** v2: unmap requests must not cut mappings. v1 remains for programs that were written before. */
  readonly v2: boolean;
  /** The number of mappings that it may have: dma_entry_limit as it was when the backend was opened. */
  readonly entryLimit: number;
  /** Flags of MAP_DMA and UNMAP_DMA that the release knows. */
  readonly knownMapFlags: number;
  readonly knownUnmapFlags: number;
  /** Requests that run past 2^64 are EOVERFLOW. */
  readonly overflowErrno: boolean;
  /** UNMAP_DMA up to the last byte of the address space works. */
  readonly lastByteUsable: boolean;
  /** UNMAP_DMA cuts no mapping in two. */
  readonly keepsMappingsWhole: boolean;
  /** UNMAP_DMA answers with how much it has unmapped. */
  readonly reportsUnmapSize: boolean;
  /** GET_INFO writes its whole structure back. */
  readonly writesWholeInfo: boolean;
  /** GET_INFO says by a flag that it has page sizes. */
  readonly flagsPageSizes: boolean;
  /** Opened as VFIO_TYPE1_NESTING_IOMMU: no IOMMU driver of the releases that had it accepts that here. */
  readonly nesting: boolean;
  readonly mappings = new MappingTable();
  readonly domains: Type1Domain[] = [];
  readonly emulatedGroups: AttachedGroup[] = [];
  readonly listeners: DmaUnmapListener[] = [];
  /** Who is told what is mapped for devices: of devices in other processes. */
  readonly watchers = new Set<MappingListener>();
  validRanges = IovaRangeList.EMPTY;
  /** Page sizes that all domains know, as GET_INFO reports them. */
  pageSizes: bigint;
  /** The smallest of them in bytes: the granularity of every request. */
  pageBytes: number;
  /** Capabilities of GET_INFO that a proposal adds. */
  proposedCapabilities: readonly CapabilitySource<Type1Iommu>[] = [];
  vaddrInvalidCount = 0;
  /** Somebody was told that an unmap inside a mapping takes nothing: once for each container. */
  partialUnmapSaid = false;
  dirtyTracking = false;
  /** Groups that may have dirtied any page (num_non_pinned_groups). */
  nonPinnedGroups = 0;

  constructor(context: ModelContext, v2: boolean, entryLimit: number, nesting: boolean) {
    this.context = context;
    this.v2 = v2;
    this.entryLimit = entryLimit;
    this.nesting = nesting;
    // no domain yet: any multiple of the kernel's page will do (vfio_iommu_type1_open)
    this.pageSizes = BigInt.asUintN(64, -BigInt(context.pageSize));
    this.pageBytes = context.pageSize;
    const { release } = context;
    const updateVaddr = release.has("updateVaddr");
    this.knownMapFlags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE | (updateVaddr ? VFIO_DMA_MAP_FLAG_VADDR : 0);
    this.knownUnmapFlags =
      (release.has("dirtyPages") ? VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP : 0) |
      (release.has("unmapAll") ? VFIO_DMA_UNMAP_FLAG_ALL : 0) |
      (updateVaddr ? VFIO_DMA_UNMAP_FLAG_VADDR : 0);
    this.overflowErrno = release.has("overflowErrno");
    this.lastByteUsable = release.has("lastByteUsable");
    this.keepsMappingsWhole = release.has("mappingsKeptWhole");
    this.reportsUnmapSize = release.has("unmapSizeReported");
    this.writesWholeInfo = release.has("wholeInfoWritten");
    this.flagsPageSizes = release.has("pageSizesFlag");
  }

  /** Mappings that can still be made (vfio_iommu.dma_avail). */
  get available(): number {
    return this.entryLimit - this.mappings.size;
  }

  /**
   * Whether none can be made any more. Asked for each mapping: a difference can be too large for V8 to have it without
   * an object.
   */
  get isFull(): boolean {
    return this.mappings.size === this.entryLimit;
  }

  /** 4 KiB pages per smallest IOMMU page. */
  get pagesPerUnit(): number {
    return this.pageBytes / PAGE_SIZE;
  }

  /** vfio_update_pgsize_bitmap: what all domains can do, sizes below the kernel's page folded into it. */
  updatePageSizes(): void {
    const pageSize = BigInt(this.context.pageSize);
    let sizes = 2n ** 64n - 1n;
    for (const domain of this.domains) sizes &= domain.unit.pageSizes;
    if (sizes & (pageSize - 1n)) sizes = (sizes & BigInt.asUintN(64, -pageSize)) | pageSize;
    this.pageSizes = sizes;
    this.pageBytes = Number(sizes & -sizes);
  }

  /**
   * Pins the pages of the mapping in `slot` and charges them (vfio_pin_map_dma). Pages that mediated devices hold
   * already are charged already.
   * @param budget what may be charged for it, in pages; by the limit of the process that made it when left out
   * @returns 0, or -EFAULT or -ENOMEM with nothing pinned
   */
  pinMapping(slot: number, pages: number, budget?: number): number {
    const { mappings } = this;
    const space = mappings.spaceOf(slot);
    const held = mappings.external.size === 0 ? 0 : (mappings.external.get(slot)?.charged ?? 0);
    const count = space.pageSize === PAGE_SIZE ? pages : (pages * PAGE_SIZE) / space.pageSize;
    const write = (mappings.flagsOf(slot) & MAP_WRITE) !== 0;
    const page = mappings.vaddrPageOf(slot);
    // apart, because V8 makes an object of a number that may be infinite
    const pin =
      budget === undefined && !this.isLockLimited(slot)
        ? space.pinFrom(page, count, write, Number.POSITIVE_INFINITY)
        : space.pinFrom(page, count, write, (budget ?? this.lockBudget(slot)) + held);
    if (pin < 0) return pin;
    space.lockedPages += space.charged - mappings.chargedHere(slot);
    mappings.setPinned(slot, pin, space.charged, count);
    if (this.watchers.size > 0) for (const watcher of this.watchers) watcher.mapped(this.rangeHere());
    return 0;
  }

  /** Unpins the pages of a mapping; what mediated devices hold stays held and charged. */
  unpinMapping(slot: number): void {
    const { mappings } = this;
    if (!(mappings.flagsOf(slot) & MAP_PINNED)) return;
    const space = mappings.spaceOf(slot);
    space.unpin(mappings.pinOf(slot));
    const held = mappings.external.size === 0 ? 0 : (mappings.external.get(slot)?.charged ?? 0);
    space.lockedPages += held - mappings.chargedHere(slot);
    mappings.setChargedHere(slot, held);
    mappings.clearFlag(slot, MAP_PINNED);
  }

  /** Removes the mapping at the cursor (vfio_remove_dma); the cursor moves on. */
  removeMappingHere(): boolean {
    const { mappings } = this;
    const slot = mappings.byIova.value;
    if (this.watchers.size > 0 && mappings.flagsOf(slot) & MAP_PINNED) {
      const { iova, size } = this.rangeHere();
      for (const watcher of this.watchers) watcher.unmapped(iova, size);
    }
    if (mappings.external.size > 0) this.unpinMapping(slot);
    else this.#letGoHere(slot);
    if (mappings.flagsOf(slot) & MAP_VADDR_INVALID) this.vaddrInvalidCount--;
    return mappings.removeHere();
  }

  /** Removes all mappings, with what mediated devices still hold of them. Returns how many 4 KiB pages they had. */
  removeAllMappings(): number {
    const { mappings } = this;
    const { byIova, external } = mappings;
    for (const watcher of this.watchers) watcher.cleared();
    let pages = 0;
    for (let more = byIova.first(); more; more = byIova.next()) {
      const slot = byIova.value;
      pages += byIova.pages;
      if (external.size > 0) this.releaseExternalPins(slot);
      this.#letGoHere(slot);
    }
    this.vaddrInvalidCount = 0;
    mappings.clear();
    return pages;
  }

  /** unpinMapping() of a mapping that goes and of which no mediated device holds anything: its slot stays as it is. */
  #letGoHere(slot: number): void {
    const { mappings } = this;
    if (!(mappings.flagsOf(slot) & MAP_PINNED)) return;
    const space = mappings.spaceOf(slot);
    space.unpin(mappings.pinOf(slot));
    space.lockedPages -= mappings.chargedHere(slot);
  }

  /**
   * Has the mediated devices' drivers let go of the pages of the mapping at the cursor. The cursor may have moved
   * afterwards.
   */
  notifyUnmap(): void {
    const { start, pages } = this.mappings.byIova;
    const bytes = pageRunBytes(start, pages);
    for (const listener of [...this.listeners]) listener.dmaUnmap(bytes.start, bytes.last - bytes.start + 1n);
  }

  /** Drops whatever mediated devices still hold of a mapping. */
  releaseExternalPins(slot: number): void {
    const { mappings } = this;
    const pins = mappings.external.get(slot);
    if (!pins) return;
    const space = mappings.spaceOf(slot);
    for (const page of [...pins.iovaPages()]) {
      let gone = pins.drop(page);
      while (!gone) gone = pins.drop(page);
      space.unpin(gone.pin);
      if (gone.charged && !(mappings.flagsOf(slot) & MAP_PINNED)) {
        space.lockedPages--;
        mappings.setChargedHere(slot, mappings.chargedHere(slot) - 1);
      }
    }
    mappings.external.delete(slot);
  }

  /**
   * Whether RLIMIT_MEMLOCK counts for a mapping: the process behind it has a limit, and made it without CAP_IPC_LOCK.
   */
  isLockLimited(slot: number): boolean {
    return !(this.mappings.flagsOf(slot) & MAP_LOCK_CAPABLE) && this.mappings.isLimited(slot);
  }

  /**
   * How many more pages of a mapping's process may be locked (Infinity with CAP_IPC_LOCK). Negative when the limit was
   * lowered below what is locked.
   * @param memlock RLIMIT_MEMLOCK in bytes, of that process when left out
   */
  lockBudget(slot: number, memlock = this.mappings.limitOf(slot)): number {
    const { mappings } = this;
    if (mappings.flagsOf(slot) & MAP_LOCK_CAPABLE || memlock === Number.POSITIVE_INFINITY)
      return Number.POSITIVE_INFINITY;
    const space = mappings.spaceOf(slot);
    return Math.floor(memlock / space.pageSize) - space.lockedPages - space.foreignLockedPages();
  }

  /** Starts a bitmap for a mapping (vfio_dma_bitmap_alloc); false when it would be too large. */
  startBitmap(slot: number, pages: number): boolean {
    const bits = pages / this.pagesPerUnit;
    if (bits > DIRTY_BITMAP_PAGES_MAX) return false;
    this.mappings.dirty.set(slot, new DirtyBitmap(bits));
    return true;
  }

  /** The mapping at the cursor, for who watches them come and go. */
  rangeHere(): MappedRange {
    const { mappings } = this;
    const { start, pages, value: slot } = mappings.byIova;
    const flags = mappings.flagsOf(slot);
    const bytes = pages * PAGE_SIZE;
    const space = mappings.spaceOf(slot);
    const vaddr = mappings.vaddrPageOf(slot) * PAGE_SIZE;
    return {
      iova: pageRunBytes(start, pages).start,
      size: BigInt(bytes),
      read: (flags & MAP_READ) !== 0,
      write: (flags & MAP_WRITE) !== 0,
      handOver: () => space.handOver(vaddr, bytes),
    };
  }

  /** The mapping at the cursor, for a message. */
  describeHere(): string {
    const { start, pages } = this.mappings.byIova;
    const bytes = pageRunBytes(start, pages);
    return `the mapping ${hexRange(bytes.start, bytes.last)}`;
  }
}
