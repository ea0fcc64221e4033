import type { IommuDomain } from "../../iommu/domain.ts";
import type { FirstLevelTable } from "../../iommu/vtd/first-level.ts";
import type { VtdUnits } from "../../iommu/vtd/units.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { PageTable } from "../devices/page-table.ts";
import type { VtdS1 } from "./vtd-s1.ts";

/** A guest's page table, nested on a page table of the program's (struct iommufd_hwpt_nested). */
export class NestedHwpt extends PageTable {
  readonly paging: Hwpt;
  readonly stage1: VtdS1;

  constructor(parent: Hwpt, stage1: VtdS1, pasidCompatible: boolean) {
    super(pasidCompatible);
    this.paging = parent;
    this.stage1 = stage1;
    parent.users++;
    parent.nested.add(this);
  }

  /** How the IOMMU is to walk it. Throws EINVAL for a width that there is not; only an attach looks at that. */
  get table(): FirstLevelTable {
    return this.stage1.table();
  }

  /** What was looked up in a guest's table may be stale. */
  override get isTranslatedByTable(): boolean {
    return true;
  }

  override get label(): string {
    return `nested hwpt ${this.id}`;
  }

  protected override makeDomain(units: VtdUnits): IommuDomain {
    const first = () => ({ table: this.table, supervisor: this.stage1.supervisor, execute: false });
    return this.paging.domainIn(units).nested(first, "own");
  }

  override destroy(): void {
    super.destroy();
    this.paging.nested.delete(this);
    this.paging.users--;
  }
}
