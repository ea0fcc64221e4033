import type { IommuDomain, NestingIommus } from "../../iommu/domain.ts";
import type { FaultQueue } from "../events/fault-queue.ts";
import { IommufdObject } from "../object-table.ts";
import type { Hwpt } from "./hwpt.ts";

/** What devices are attached to (struct iommufd_hw_pagetable): a page table over an address space, or one nested on such a one. */
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
  abstract get paging(): Hwpt;

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

  /** Whether requests without a PASID have to go through the IOMMU's tables, because they may miss there and ask for the page. */
  get isTranslatedByTable(): boolean {
    return this.fault !== undefined;
  }

  /** EINVAL for a table that the IOMMU cannot walk. */
  checkWalkable(): void {}

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
