import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import type { PageTable } from "./page-table.ts";

/** A device of an iommufd, as what it is attached to knows it. */
export interface AttachedDevice {
  /** Its object's id. */
  readonly id: number;
  readonly name: string;
  /** For messages: "device 0000:00:1b.0". */
  readonly label: string;
  readonly group: DmaGroup;
  readonly unit: IommuUnit;
}

/** What a group is attached to with one PASID, or without (struct iommufd_attach). */
export class Attachment {
  #pageTable: PageTable;
  /** Devices that are attached with it. */
  readonly devices = new Set<AttachedDevice>();
  /** The device that made it, or moved it: page requests go out under its id (struct iommufd_attach_handle). */
  handle: { readonly device: AttachedDevice };

  constructor(pageTable: PageTable, device: AttachedDevice) {
    this.#pageTable = pageTable;
    this.handle = { device };
  }

  get pageTable(): PageTable {
    return this.#pageTable;
  }

  /** Moves it; returns the handle that page requests were made under so far. */
  move(pageTable: PageTable, device: AttachedDevice): object {
    const old = this.handle;
    this.#pageTable = pageTable;
    this.handle = { device };
    return old;
  }
}
