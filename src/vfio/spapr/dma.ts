import { addressToPage, PAGE_SIZE } from "../../address/pages.ts";
import { type DmaFault, type DmaTarget, unlessGone } from "../../iommu/dma-target.ts";
import { TCE_READ, TCE_WRITE } from "../../iommu/tce/tce-table.ts";
import { hex } from "../../kernel/errors.ts";
import type { TceContainer } from "./tce-container.ts";

/** DMA of the devices in a container: through the TCEs of the window that an address lies in. */
export class TceDma implements DmaTarget {
  readonly #container: TceContainer;

  constructor(container: TceContainer) {
    this.#container = container;
  }

  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return this.#access(iova, into, TCE_READ);
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return this.#access(iova, from, TCE_WRITE);
  }

  /** Goes through the bytes in pieces that lie in one IOMMU page. */
  #access(iova: bigint, bytes: Uint8Array, permission: number): DmaFault | undefined {
    let fault: DmaFault | undefined;
    for (let done = 0; done < bytes.length; ) {
      const at = iova + BigInt(done);
      const page = addressToPage(at);
      const within = Number(at & BigInt(PAGE_SIZE - 1));
      const window = this.#container.windowAt(page);
      const span = window?.span ?? 1;
      const offset = (window ? ((page - window.startPage) % span) * PAGE_SIZE : 0) + within;
      const piece = bytes.subarray(done, done + span * PAGE_SIZE - offset);
      const reason = this.#reach(page, offset, piece, permission);
      if (reason !== undefined) {
        if (permission === TCE_READ) piece.fill(0);
        fault ??= { iova: at, reason };
      }
      done += piece.length;
    }
    return fault;
  }

  /** Moves one piece; returns why not. */
  #reach(page: number, offset: number, piece: Uint8Array, permission: number): string | undefined {
    const container = this.#container;
    const window = container.windowAt(page);
    if (window === undefined) return `iova ${addressText(page)} lies in no window; ${container.windowsText}`;
    const { table } = window;
    if (!table.find(window.indexOf(page))) {
      return `nothing is mapped at iova ${addressText(page)} in the window ${window.label}`;
    }
    if (!(table.permission & permission)) {
      return `the mapping at iova ${addressText(page)} does not allow ${permission === TCE_READ ? "reading" : "writing"}`;
    }
    return unlessGone(() => this.#move(table.page, table.owner, offset, piece, permission === TCE_WRITE));
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
