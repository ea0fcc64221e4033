import type { IommuUnit } from "../../iommu/unit.ts";
import type { Task } from "../../kernel/task.ts";
import type { FaultQueue } from "../events/fault-queue.ts";
import type { Ioas } from "../ioas.ts";
import type { Domain } from "../memory/io-page-table.ts";
import { IommufdObject } from "../object-table.ts";

/** A page table that an IOMMU walks, over an address space (struct iommufd_hwpt_paging). */
export class Hwpt extends IommufdObject implements Domain {
  readonly ioas: Ioas;
  readonly unit: IommuUnit;
  /** Devices may be attached to it with a PASID. */
  readonly pasidCompatible: boolean;
  /** Made for an attach to the address space itself: goes when the last device leaves. */
  auto = false;
  fault: FaultQueue | undefined;

  constructor(ioas: Ioas, unit: IommuUnit, pasidCompatible: boolean) {
    super();
    this.ioas = ioas;
    this.unit = unit;
    this.pasidCompatible = pasidCompatible;
    ioas.users++;
  }

  get label(): string {
    return `hwpt ${this.id}`;
  }

  /** The mappings go into it. Throws EINVAL, EADDRINUSE, EFAULT, ENOMEM, and then nothing has changed. */
  join(task: Task): void {
    const { table } = this.ioas;
    for (const area of table.areas) area.pages.account.hear(task);
    table.addDomain(this);
    this.ioas.hwpts.push(this);
  }

  destroy(): void {
    const { hwpts, table } = this.ioas;
    const index = hwpts.indexOf(this);
    if (index >= 0) {
      hwpts.splice(index, 1);
      table.removeDomain(this);
    }
    this.ioas.users--;
    if (this.fault) this.fault.users--;
  }
}
