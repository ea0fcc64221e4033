import { DirtyPages } from "../../address/dirty-pages.ts";
import type { IommuDomain } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import { type IommuUnit, smallestPage } from "../../iommu/unit.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
} from "../../uapi/iommufd-hwpt.ts";
import type { Ioas } from "../ioas.ts";
import type { Area } from "../memory/area.ts";
import type { Domain } from "../memory/io-page-table.ts";
import { TableDma } from "../memory/table-dma.ts";
import { IoasMappings } from "../nesting/ioas-mappings.ts";
import { PageTable, type PagingTable } from "./page-table.ts";

/** A page table that an IOMMU walks, over an address space (struct iommufd_hwpt_paging). */
export class Hwpt extends PageTable implements Domain, PagingTable {
  readonly ioas: Ioas;
  readonly unit: IommuUnit;
  /** Others can be nested on it. */
  readonly isParent: boolean;
  /** Of second-stage tables, where the IOMMU has both. */
  readonly isSecondStage: boolean;
  /** Those that are nested on it. */
  readonly nested = new Set<PageTable>();
  /** Which of its pages devices wrote; undefined when it was not made to tell. */
  readonly dirty: DirtyPages | undefined;
  #doorbellPage: bigint | undefined;

  /**
   * @param flags IOMMU_HWPT_ALLOC_*, that the unit's driver takes
   * @param describe what its caller makes of the unit's tables. May throw EOPNOTSUPP
   */
  constructor(ioas: Ioas, unit: IommuUnit, flags: number, describe = (tables: IommuUnit) => tables) {
    super((flags & IOMMU_HWPT_ALLOC_PASID) !== 0);
    this.ioas = ioas;
    this.isParent = (flags & IOMMU_HWPT_ALLOC_NEST_PARENT) !== 0;
    this.isSecondStage = (flags & secondStageFlags(unit)) !== 0;
    this.unit = describe(this.isSecondStage ? unit.secondStage! : unit);
    this.dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING ? new DirtyPages(smallestPage(this.unit)) : undefined;
    ioas.users++;
  }

  get paging(): Hwpt {
    return this;
  }

  /** Bytes of the smallest pages that it has. */
  get pageSize(): bigint {
    return smallestPage(this.unit);
  }

  /** Where DMA of the devices that are attached to it goes. */
  get dma(): TableDma {
    return new TableDma(this.ioas.table, this.unit, this.dirty);
  }

  /** The page that the kernel has mapped for interrupt messages; undefined as long as it needs none. */
  get doorbellPage(): bigint | undefined {
    return this.#doorbellPage;
  }

  installDoorbell(): void {
    const { doorbell } = this.unit;
    if (doorbell === undefined || this.#doorbellPage !== undefined) return;
    const page = doorbell - (doorbell % this.ioas.table.pageSize);
    const area = this.ioas.table.areas.meeting(page, page);
    if (area) fail("EEXIST", `${area.label} is where the kernel would map the doorbell of interrupts, ${hex(page)}`);
    this.#doorbellPage = page;
  }

  /**
   * A device wrote through an entry of it: all that this maps is dirty. It is of the largest page of the table's that
   * memory and IOVA have room for.
   */
  entryWritten(iova: bigint): void {
    const size = entrySize(this.ioas.table.areas.meeting(iova, iova), iova, this.unit);
    if (size > 0n) this.dirty?.written(iova - (iova % size), Number(size));
  }

  get listens(): boolean {
    return this.dirty !== undefined || this.domain !== undefined || this.nested.size > 0;
  }

  /** What is nested on it is forgotten as a whole (cache.c:cache_tag_flush_range, CACHE_TAG_NESTING_*). */
  unmapped(start: bigint, last: bigint): void {
    this.dirty?.clear(start, last);
    this.domain?.flushRange(start, last, false);
    for (const { domain } of this.nested) domain?.flush();
  }

  protected override makeDomain(iommus: NestingIommus): IommuDomain {
    const mappings = new IoasMappings(this.ioas.table, this.unit, this.dma);
    return iommus.paging(mappings, { last: this.unit.apertureLast, isSecond: this.isSecondStage });
  }

  /** The mappings go into it. Throws EINVAL, EADDRINUSE, EFAULT, ENOMEM, and then nothing has changed. */
  join(task: Task): void {
    const { table } = this.ioas;
    for (const account of table.areas.accounts) account.hear(task);
    for (const { pages } of table.areas.kept()) pages.account.hear(task);
    table.addDomain(this);
    this.ioas.hwpts.push(this);
  }

  override destroy(): void {
    super.destroy();
    const { hwpts, table } = this.ioas;
    const index = hwpts.indexOf(this);
    if (index >= 0) {
      hwpts.splice(index, 1);
      table.removeDomain(this);
    }
    this.ioas.users--;
  }
}

/**
 * What only second-stage tables of a unit that has both stages can do
 * (intel/iommu.c:intel_iommu_domain_alloc_paging_flags). 0 for other units.
 */
export function secondStageFlags({ secondStage, iommufd }: IommuUnit): number {
  if (!secondStage) return 0;
  return iommufd.secondStageFlags ?? IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
}

/** Bytes of the entry that an IOVA is mapped by; 0 where nothing is mapped. */
function entrySize(area: Area | undefined, iova: bigint, unit: IommuUnit): bigint {
  if (!area) return 0n;
  const smallest = smallestPage(unit);
  const huge = 1n << BigInt(area.hugePageShift(iova));
  for (let size = huge; size > smallest; size >>= 1n) {
    const start = iova - (iova % size);
    const isInside = start >= area.start && start + size - 1n <= area.last;
    if (unit.pageSizes & size && isInside && area.offsetOf(start) % size === 0n) return size;
  }
  return smallest;
}
