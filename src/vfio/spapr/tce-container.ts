import { pageRunBytes } from "../../address/pages.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { TceEndpoint } from "../../iommu/tce/endpoint.ts";
import type { TceWindow } from "../../iommu/tce/tce-window.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { ModelContext } from "../model-context.ts";
import type { SpaceListener } from "../space-view.ts";
import type { MemoryRegion } from "./memory-region.ts";
import { type ProcessRegions, regionsOf } from "./process-regions.ts";

/** A group in the container with the endpoint that it is to the hardware (struct tce_iommu_group). */
export interface AttachedEndpoint {
  readonly group: DmaGroup;
  readonly endpoint: TceEndpoint;
}

/** The state of a container's sPAPR TCE backend (struct tce_container), with what its requests share. */
export class TceContainer {
  readonly context: ModelContext;
  /** Version 2: memory is registered first, windows come and go. */
  readonly v2: boolean;
  /** Mapping is allowed. Version 1: between ENABLE and DISABLE; version 2: from the first registered memory on. */
  enabled = false;
  /** The default window is promised, but not built yet. */
  defaultPending = false;
  /** Pages of the host kernel that ENABLE charged. */
  enableCharge = 0;
  /** Slot 0 and slot 1. */
  readonly windows: (TceWindow | undefined)[] = [undefined, undefined];
  /** Newest first; the first one speaks for all. */
  readonly groups: AttachedEndpoint[] = [];
  /** What this container registered. */
  readonly registered = new Set<MemoryRegion>();
  /** Who looks on. */
  readonly lookers = new Set<SpaceListener>();
  #owner: AddressSpace | undefined;
  #regions: ProcessRegions | undefined;

  constructor(context: ModelContext, v2: boolean) {
    this.context = context;
    this.v2 = v2;
  }

  /** The process that may use it; undefined until a request makes one so (struct tce_container.mm). */
  get owner(): AddressSpace | undefined {
    return this.#owner;
  }

  /** The same where the request in hand has made sure that there is one. */
  get ownerMemory(): AddressSpace {
    return this.#owner!;
  }

  /** The regions that the owner registered, in whichever container. */
  get regions(): ProcessRegions {
    return this.#regions!;
  }

  /** EPERM for another process than the owner, if there is one. */
  refuseOthers(task: Task): void {
    if (this.#owner === undefined || this.#owner === task.memory) return;
    fail(
      "EPERM",
      `the container belongs to the process that first enabled it, registered memory or made windows; process ${task.pid} has other memory`,
    );
  }

  /** tce_iommu_mm_set(): the caller becomes the owner. For those that passed refuseOthers(). */
  own(task: Task): void {
    if (this.#owner !== undefined) return;
    this.#owner = task.memory;
    this.#regions = regionsOf(task.memory);
  }

  /** Pages of the host kernel that a window's table is charged with. */
  tablePages(bytes: bigint): number {
    return Number(bytes / BigInt(this.context.pageSize));
  }

  /** The window that a page (4 KiB) lies in. */
  windowAt(page: number): TceWindow | undefined {
    const [first, second] = this.windows;
    if (first?.contains(page)) return first;
    return second?.contains(page) ? second : undefined;
  }

  /** The windows, for a message. */
  get windowsText(): string {
    const labels = this.windows.flatMap((window) => (window ? [window.label] : []));
    return labels.length === 0 ? "there is none" : `there are ${labels.join(" and ")}`;
  }

  /** Empties the entries [from, end) of a window and lets go of the memory behind them (tce_iommu_clear). */
  clear({ table, startPage, span }: TceWindow, from: number, end: number): void {
    if (this.lookers.size > 0 && end > from) {
      const range = pageRunBytes(startPage + from * span, (Math.min(end, table.entries) - from) * span);
      for (const looker of this.lookers) looker.unmapped(range);
    }
    for (let at = from; ; at = table.position) {
      const count = table.takeRun(at, end);
      if (count === 0) return;
      this.letGo(table.owner, count);
    }
  }

  clearAll(window: TceWindow): void {
    this.clear(window, 0, window.table.entries);
  }

  /** TCEs of one owner are gone: its page is unpinned, or its region has that many mappings less. */
  letGo(owner: number, count = 1): void {
    if (this.v2) this.regions.byId(owner).mapped -= count;
    else this.ownerMemory.unpin(owner);
  }
}
