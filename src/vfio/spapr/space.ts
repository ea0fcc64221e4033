import { ALL_ADDRESSES, holesIn, type IovaRange } from "../../address/iova-ranges.ts";
import { addressToPage, pageRunBytes } from "../../address/pages.ts";
import { TCE_READ, TCE_WRITE } from "../../iommu/tce/tce-table.ts";
import type { TceWindow } from "../../iommu/tce/tce-window.ts";
import {
  type BackendSpace,
  JoinedMappings,
  type SpaceListener,
  type SpaceMapping,
  type TakenRange,
} from "../space-view.ts";
import type { TceContainer } from "./tce-container.ts";

/** A container's windows, for who looks on. Entries that lie side by side are told as one mapping. */
export class TceSpace implements BackendSpace {
  readonly #container: TceContainer;

  constructor(container: TceContainer) {
    this.#container = container;
  }

  /** Its windows. */
  get valid(): readonly IovaRange[] {
    return this.#windows.map(({ startPage, span, table }) => pageRunBytes(startPage, table.entries * span));
  }

  get taken(): TakenRange[] {
    return holesIn(ALL_ADDRESSES, this.valid).map((hole) => ({ ...hole, what: "no window", of: "the container" }));
  }

  from(address: bigint, most: number): SpaceMapping[] {
    const joined = new JoinedMappings();
    for (const { startPage, span, table } of this.#windows) {
      const from = Math.max(0, Math.ceil((addressToPage(address) - startPage) / span));
      let at = table.next(from, table.entries);
      for (; at >= 0 && joined.all.length <= most; at = table.next(at + 1, table.entries)) {
        table.find(at);
        joined.add(entryOf(startPage + at * span, span, table.permission));
      }
    }
    return joined.all.slice(0, most);
  }

  watch(listener: SpaceListener): () => void {
    const { lookers } = this.#container;
    lookers.add(listener);
    return () => lookers.delete(listener);
  }

  get #windows(): TceWindow[] {
    const there = this.#container.windows.filter((window) => window !== undefined);
    return there.sort((a, b) => a.startPage - b.startPage);
  }
}

/** @param page first page (4 KiB) of it */
export function entryOf(page: number, pages: number, permission: number): SpaceMapping {
  return {
    ...pageRunBytes(page, pages),
    read: (permission & TCE_READ) !== 0,
    write: (permission & TCE_WRITE) !== 0,
  };
}
