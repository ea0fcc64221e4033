import type { IommuDomain, UserTable } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { PageTable } from "../devices/page-table.ts";

/** A guest's page table, nested on a page table of the program's (struct iommufd_hwpt_nested). */
export class NestedHwpt extends PageTable {
  readonly paging: Hwpt;
  readonly #table: UserTable;

  constructor(parent: Hwpt, table: UserTable, pasidCompatible: boolean) {
    super(pasidCompatible);
    this.paging = parent;
    this.#table = table;
    parent.users++;
    parent.nested.add(this);
  }

  override checkWalkable(): void {
    this.#table.check();
  }

  /** What was looked up in a guest's table may be stale. */
  override get isTranslatedByTable(): boolean {
    return true;
  }

  override get label(): string {
    return `nested hwpt ${this.id}`;
  }

  protected override makeDomain(iommus: NestingIommus): IommuDomain {
    return this.#table.nestedOn(this.paging.domainIn(iommus));
  }

  override destroy(): void {
    super.destroy();
    this.paging.nested.delete(this);
    this.paging.users--;
  }
}
