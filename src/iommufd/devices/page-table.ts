import type { FaultQueue } from "../events/fault-queue.ts";
import type { VtdDomain } from "../nesting/vtd-domain.ts";
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
  /** Its side in an IOMMU that knows PASIDs and nesting, from its first use there on. */
  vtd: VtdDomain | undefined;

  constructor(pasidCompatible: boolean) {
    super();
    this.pasidCompatible = pasidCompatible;
  }

  /** The one over an address space: itself, or what it is nested on (iommufd_private.h:find_hwpt_paging). */
  abstract get paging(): Hwpt;

  get label(): string {
    return `hwpt ${this.id}`;
  }

  /** Faults go there from now on. */
  reportTo(queue: FaultQueue): void {
    this.fault = queue;
    queue.users++;
  }

  destroy(): void {
    this.vtd?.free();
    if (this.fault) this.fault.users--;
  }
}
