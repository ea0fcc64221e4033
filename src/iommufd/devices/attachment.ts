import type { BoundDevice } from "./bound-device.ts";
import type { PageTable } from "./page-table.ts";

/** What a group is attached to with one PASID, or without (struct iommufd_attach). */
export class Attachment {
  #pageTable: PageTable;
  /** Devices that are attached with it. */
  readonly devices = new Set<BoundDevice>();
  /** The device that made it, or moved it: page requests go out under its id (struct iommufd_attach_handle). */
  handle: { readonly device: BoundDevice };

  constructor(pageTable: PageTable, device: BoundDevice) {
    this.#pageTable = pageTable;
    this.handle = { device };
  }

  get pageTable(): PageTable {
    return this.#pageTable;
  }

  /** Moves it; returns the handle that page requests were made under so far. */
  move(pageTable: PageTable, device: BoundDevice): object {
    const old = this.handle;
    this.#pageTable = pageTable;
    this.handle = { device };
    return old;
  }
}
