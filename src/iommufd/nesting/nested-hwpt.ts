import type { IntendedAttach, IommuDomain, UserFormat, UserInvalidation, UserTable } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { PageTable } from "../devices/page-table.ts";
import type { IommufdObject } from "../object-table.ts";

/** What a nested page table is made from. */
interface NestedOptions {
  readonly pasidCompatible: boolean;
  /** What it keeps: a virtual IOMMU over the parent, or the parent itself. */
  readonly over: IommufdObject;
  /** Undefined where its guest's invalidations are not its own. */
  readonly invalidations: UserFormat<UserInvalidation> | undefined;
}

/** A guest's page table, nested on a page table of the program's (struct iommufd_hwpt_nested). */
export class NestedHwpt extends PageTable {
  readonly paging: Hwpt;
  readonly table: UserTable;
  readonly invalidations: UserFormat<UserInvalidation> | undefined;
  readonly #over: IommufdObject;

  constructor(parent: Hwpt, table: UserTable, { pasidCompatible, over, invalidations }: NestedOptions) {
    super(pasidCompatible);
    this.paging = parent;
    this.table = table;
    this.invalidations = invalidations;
    this.#over = over;
    over.users++;
    parent.nested.add(this);
  }

  override checkWalkable(attach: IntendedAttach): void {
    this.table.check(attach);
  }

  /** What was looked up in a guest's table may be stale. */
  override get isTranslatedByTable(): boolean {
    return true;
  }

  override get label(): string {
    return `nested hwpt ${this.id}`;
  }

  protected override makeDomain(iommus: NestingIommus): IommuDomain {
    return this.table.nestedOn(this.paging.domainIn(iommus));
  }

  override destroy(): void {
    super.destroy();
    this.paging.nested.delete(this);
    this.#over.users--;
  }
}
