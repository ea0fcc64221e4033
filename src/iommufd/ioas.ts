import type { PageTable } from "./devices/page-table.ts";
import { IoPageTable } from "./memory/io-page-table.ts";
import { IommufdObject } from "./object-table.ts";

/** An I/O address space (struct iommufd_ioas): mappings, and the page tables that follow them. */
export class Ioas extends IommufdObject {
  readonly table: IoPageTable;
  /** In the order in which they were made. */
  readonly hwpts: PageTable[] = [];

  constructor(pageSize: number) {
    super();
    this.table = new IoPageTable(pageSize);
  }

  get label(): string {
    return `ioas ${this.id}`;
  }

  destroy(): void {
    this.table.clear();
  }
}
