import { PAGE_SIZE } from "../../address/pages.ts";
import type { DmaFault } from "../../iommu/dma-target.ts";
import { MappedDma, type Met, moved, pieceOf, refused } from "../../iommu/dma-walk.ts";
import { TCE_READ, TCE_WRITE } from "../../iommu/tce/tce-table.ts";
import { hex } from "../../kernel/errors.ts";
import type { TceContainer } from "./tce-container.ts";

/** DMA of the devices in a container: through the TCEs of the window that an address lies in. */
export class TceDma extends MappedDma {
  readonly #container: TceContainer;

  constructor(container: TceContainer) {
    super();
    this.#container = container;
  }

  /** A piece lies in one IOMMU page; outside all windows, in one of 4 KiB. */
  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const container = this.#container;
    const window = container.windowAt(page);
    if (window === undefined)
      return refused(
        Math.min(bytes.length - done, PAGE_SIZE - within),
        () => `iova ${addressText(page)} lies in no window; ${container.windowsText}`,
      );
    const offset = ((page - window.startPage) % window.span) * PAGE_SIZE + within;
    const piece = pieceOf(bytes, done, window.span * PAGE_SIZE - offset);
    const { table } = window;
    if (!table.find(window.indexOf(page)))
      return refused(
        piece.length,
        () => `nothing is mapped at iova ${addressText(page)} in the window ${window.label}`,
      );
    if (!(table.permission & (write ? TCE_WRITE : TCE_READ)))
      return refused(
        piece.length,
        () => `the mapping at iova ${addressText(page)} does not allow ${write ? "writing" : "reading"}`,
      );
    const { page: memoryPage, owner } = table;
    return moved(piece, () => this.#move(memoryPage, owner, offset, piece, write));
  }

  #move(page: number, owner: number, offset: number, piece: Uint8Array, write: boolean): void {
    const container = this.#container;
    if (container.v2) {
      const region = container.regions.byId(owner);
      const into = (page - region.startPage) * PAGE_SIZE + offset;
      if (write) region.write(into, piece);
      else region.read(into, piece);
      return;
    }
    const space = container.ownerMemory;
    const start = page - (page % (space.pageSize / PAGE_SIZE));
    const into = (page - start) * PAGE_SIZE + offset;
    if (write) space.writePinned(owner, start * PAGE_SIZE, into, piece);
    else space.readPinned(owner, start * PAGE_SIZE, into, piece);
  }
}

function addressText(page: number): string {
  return hex(BigInt(page) * BigInt(PAGE_SIZE));
}
