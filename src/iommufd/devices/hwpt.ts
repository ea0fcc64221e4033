import { DirtyPages } from "../../address/dirty-pages.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { IommuDomain } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import { type IommuUnit, smallestPage } from "../../iommu/unit.ts";
import type { Task } from "../../kernel/task.ts";
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
} from "../../uapi/iommufd-hwpt.ts";
import type { Ioas } from "../ioas.ts";
import type { Domain } from "../memory/io-page-table.ts";
import { TableDma } from "../memory/table-dma.ts";
import { IoasMappings } from "../nesting/ioas-mappings.ts";
import { PageTable, type PagingTable } from "./page-table.ts";

/** What first-stage tables cannot do (intel/iommu.c:intel_iommu_domain_alloc_paging_flags). */
const SECOND_STAGE_FLAGS = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING;

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

  /** @param flags IOMMU_HWPT_ALLOC_*, that the unit's driver takes */
  constructor(ioas: Ioas, unit: IommuUnit, flags: number) {
    super((flags & IOMMU_HWPT_ALLOC_PASID) !== 0);
    this.ioas = ioas;
    this.isParent = (flags & IOMMU_HWPT_ALLOC_NEST_PARENT) !== 0;
    this.isSecondStage = unit.secondStage !== undefined && (flags & SECOND_STAGE_FLAGS) !== 0;
    this.unit = this.isSecondStage ? unit.secondStage! : unit;
    this.dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING ? new DirtyPages(smallestPage(unit)) : undefined;
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
  get dma(): DmaTarget {
    return new TableDma(this.ioas.table, this.unit, this.dirty);
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
    for (const area of table.areas) area.pages.account.hear(task);
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
