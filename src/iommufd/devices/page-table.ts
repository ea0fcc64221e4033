import type { DirtyPages } from "../../address/dirty-pages.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { IntendedAttach, IommuDomain } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import type { FaultQueue } from "../events/fault-queue.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { IommufdObject } from "../object-table.ts";

/** A page table over an address space. */
export interface PagingTable {
  readonly label: string;
  readonly unit: IommuUnit;
  /** The address space. */
  readonly ioas: { readonly table: IoPageTable };
  /** Of second-stage tables, where the IOMMU has both. */
  readonly isSecondStage: boolean;
  /** Which of its pages devices wrote; undefined when it was not made to tell. */
  readonly dirty: DirtyPages | undefined;
  /** Where DMA of the devices that are attached to it goes. */
  readonly dma: DmaTarget;
  /** The kernel maps the page in it that interrupt messages are written to. EEXIST where something is mapped there. */
  installDoorbell(): void;
}

/**
 * What devices are attached to (struct iommufd_hw_pagetable): a page table over an address space, or one nested on such
 * a one.
 */
export abstract class PageTable extends IommufdObject {
  /** Devices may be attached to it with a PASID. */
  readonly pasidCompatible: boolean;
  /** Made for an attach to the address space itself: goes when the last device leaves. */
  auto = false;
  /** Where page requests of its devices go. */
  fault: FaultQueue | undefined;
  #domain: IommuDomain | undefined;

  constructor(pasidCompatible: boolean) {
    super();
    this.pasidCompatible = pasidCompatible;
  }

  /** The one over an address space: itself, or what it is nested on (iommufd_private.h:find_hwpt_paging). */
  abstract get paging(): PagingTable;

  /** Its side in the IOMMUs that know PASIDs and nesting; undefined while it has not been used there. */
  get domain(): IommuDomain | undefined {
    return this.#domain;
  }

  /** The same, made with the first use. */
  domainIn(iommus: NestingIommus): IommuDomain {
    this.#domain ??= this.makeDomain(iommus);
    return this.#domain;
  }

  protected abstract makeDomain(iommus: NestingIommus): IommuDomain;

  /**
   * Whether requests without a PASID have to go through the IOMMU's tables, because they may miss there and ask for the
   * page.
   */
  get isTranslatedByTable(): boolean {
    return this.fault !== undefined;
  }

  /** EINVAL for a table that the IOMMU cannot walk, ENOENT for a device that its virtual IOMMU does not know. */
  checkWalkable(_attach: IntendedAttach): void {}

  get label(): string {
    return `hwpt ${this.id}`;
  }

  /** Faults go there from now on. */
  reportTo(queue: FaultQueue): void {
    this.fault = queue;
    queue.users++;
  }

  destroy(): void {
    if (this.fault) this.fault.users--;
  }
}
