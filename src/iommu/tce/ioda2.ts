import { addressToPage } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { Eeh } from "./eeh.ts";
import type { TceEndpoint, TceFacts } from "./endpoint.ts";
import {
  exceedsReach,
  ioda2Entries,
  ioda2Levels,
  ioda2TableBytes,
  LARGEST_PIECE_SHIFT,
  MAX_LEVELS,
} from "./ioda2-table.ts";
import { TceWindow, type WindowRequest } from "./tce-window.ts";

/** Where the second window starts: bit 59 of an address chooses it (struct pnv_ioda_pe.tce_bypass_base). */
const SECOND_WINDOW_START = 1n << 59n;

/**
 * An endpoint of a PHB3, PHB4 or PHB5 on bare metal (arch/powerpc/platforms/powernv/pci-ioda.c: pnv_pci_ioda2_ops). A
 * window's start follows from its slot alone, and one table can serve several endpoints.
 */
export class Ioda2Endpoint implements TceEndpoint {
  readonly facts: TceFacts;
  readonly kind = "ioda2";
  /** pci-ioda-tce.c:pnv_tce_xchg */
  readonly writeImpliesRead = true;
  readonly eeh = new Eeh();
  /** A kernel writes behind its table here. */
  readonly pastEnd = "ENXIO";
  readonly #kernelPageShift: number;

  constructor(facts: TceFacts, kernelPageSize: number) {
    this.facts = facts;
    this.#kernelPageShift = Math.log2(kernelPageSize);
  }

  takeOwnership(): void {}

  releaseOwnership(): void {}

  tableBytes(request: WindowRequest): bigint {
    return ioda2TableBytes(request, this.#kernelPageShift);
  }

  createTable(slot: number, request: WindowRequest): TceWindow {
    const cut = ioda2Levels(request, this.#kernelPageShift);
    if (cut === undefined) {
      fail(
        "EINVAL",
        `a size of ${hex(request.size)} is no power of two, or ${request.levels} is not 1..${MAX_LEVELS} levels`,
      );
    }
    if (exceedsReach(request, cut)) {
      fail(
        "EINVAL",
        `${request.levels} levels of 2^${cut.levelShift} bytes and a page of 2^${request.pageShift} bytes reach beyond 2^55; take fewer levels or a smaller window`,
      );
    }
    if (cut.levelShift > LARGEST_PIECE_SHIFT) {
      fail(
        "ENOMEM",
        `each of ${request.levels} levels would be one piece of 2^${cut.levelShift} bytes, more than the 16M that the kernel can give; take more levels`,
      );
    }
    const start = slot === 0 ? this.facts.dma32Start : SECOND_WINDOW_START;
    const entries = ioda2Entries(cut, this.#kernelPageShift);
    return new TceWindow(addressToPage(start), request.pageShift, entries, this.tableBytes(request));
  }

  setWindow(_slot: number, _window: TceWindow): void {}

  unsetWindow(_slot: number): void {}
}
