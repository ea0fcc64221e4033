import type { DmaOwner } from "../iommu/requester.ts";
import type { Task } from "../kernel/task.ts";
import type { GroupAttachment } from "./devices/group-attachment.ts";
import type { Ioas } from "./ioas.ts";
import { MmapWindows } from "./mmap-windows.ts";
import type { IommufdModule } from "./module.ts";
import { ObjectTable } from "./object-table.ts";

/**
 * What is behind an open /dev/iommu (struct iommufd_ctx). Devices that are bound to it, groups that are in it and its
 * event files keep it when its own descriptor is closed; with the last of them everything in it goes.
 */
export class IommufdContext implements DmaOwner {
  readonly module: IommufdModule;
  readonly objects = new ObjectTable();
  /** By the IOMMU group's number. */
  readonly groups = new Map<number, GroupAttachment>();
  /** Whose limit pinned pages count against. */
  accountMode: "user" | "process";
  /** A group without IOMMU is in it: nothing else may be. */
  noIommu = false;
  /** Memory of drivers that a program maps through it. */
  readonly windows: MmapWindows;
  /** What the requests of a VFIO container mean. */
  compatIoas: Ioas | undefined;
  /** For messages: who opened it. */
  readonly label: string;
  #references = 1;

  constructor(module: IommufdModule, accountMode: "user" | "process", { name, pid }: Pick<Task, "name" | "pid">) {
    this.module = module;
    this.windows = new MmapWindows(module.context.pageSize);
    this.label = `the iommufd of process ${name}, pid ${pid}`;
    this.accountMode = accountMode;
    module.contexts.add(this);
  }

  get pageSize(): number {
    return this.module.context.pageSize;
  }

  /** One more needs it. */
  get(): void {
    this.#references++;
  }

  /** One fewer does. */
  put(): void {
    if (--this.#references > 0) return;
    this.module.contexts.delete(this);
    this.objects.destroyAll();
  }
}
