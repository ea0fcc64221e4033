import { addressToPage } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { TceEndpoint, TceFacts } from "./endpoint.ts";
import { log2, shiftRight } from "./machine-shift.ts";
import { TceWindow, type WindowRequest } from "./tce-window.ts";

/** Where QEMU's firmware puts the window that is made on request (hw/ppc/spapr_pci.c: dma64_win_addr). */
const DYNAMIC_WINDOW_START = 1n << 59n;
/**
 * Entries that QEMU's firmware says to have free (hw/ppc/spapr_rtas_ddw.c: "the largest window we can possibly have").
 */
const FREE_ENTRIES = 0x8000_0000n;
/**
 * What the kernel counts for tables with levels, which it then cannot make (pseries/iommu.c:spapr_tce_get_table_size).
 */
const LEVELLED_TABLE_BYTES = 0xffff_ffffn;
/** log2 of the pages of the default window, and of the bytes of a TCE. */
const DEFAULT_PAGE_SHIFT = 12;
const TCE_SHIFT = 3;
/** max_dynamic_windows where firmware cannot make any (no ibm,ddw-applicable). */
const NO_DYNAMIC_WINDOWS = 0xffff_ffff;

/**
 * An endpoint of a logical partition, whose windows are made by firmware calls (arch/powerpc/platforms/pseries/iommu.c:
 * spapr_tce_table_group_ops). A window belongs to the endpoint that it was made for.
 */
export class LparEndpoint implements TceEndpoint {
  readonly facts: TceFacts;
  readonly kind = "lpar";
  readonly writeImpliesRead = false;
  readonly eeh = undefined;
  /** H_PARAMETER is -4, and comes back as it is. */
  readonly pastEnd = "EINTR";
  readonly #windows: (TceWindow | undefined)[] = [undefined, undefined];
  /** Windows that firmware made; the default one is not among them. */
  readonly #dynamic = new Set<TceWindow>();
  /** ibm,dma-window is in the device tree: as far as the kernel knows the default window is there. */
  #hasDefaultProperty = true;
  /** A firmware call failed: the kernel never asks for this endpoint again (failed_ddw_pdn_list). */
  #failed = false;

  constructor(facts: TceFacts) {
    this.facts = facts;
  }

  /** The default window is taken from the device tree, which works only where firmware has calls for dynamic ones. */
  takeOwnership(): void {
    this.#hasDefaultProperty = !this.#hasDynamicWindows;
  }

  releaseOwnership(): void {
    this.#hasDefaultProperty = true;
    this.#dynamic.clear();
  }

  tableBytes({ pageShift, size, levels }: WindowRequest): bigint {
    return levels > 1 ? LEVELLED_TABLE_BYTES : shiftRight(size, pageShift - TCE_SHIFT);
  }

  createTable(slot: number, request: WindowRequest): TceWindow {
    const windowShift = log2(request.size);
    if (windowShift === undefined) fail("EINVAL", `a window of ${hex(request.size)} bytes: not a power of two`);
    if (request.levels > 1) fail("EINVAL", `${request.levels} levels: tables of a partition have one level`);
    if (this.#failed) {
      fail(
        "ENODEV",
        "firmware refused a window of this device before; a kernel does not ask again until it is rebooted",
      );
    }
    const isDefault = slot === 0 && this.#isDefaultRequest(request);
    if (slot === 0 && (!isDefault || !this.#hasDefaultProperty) && this.#dynamic.size > 0) {
      fail(
        "EPERM",
        isDefault
          ? "the default window cannot come back while there is a dynamic one: firmware would take that away"
          : "firmware gave this device its dynamic window already; remove that first",
      );
    }
    const window =
      isDefault && !this.#hasDefaultProperty
        ? this.#restoreDefault(request)
        : this.#createDynamic(request, windowShift);
    this.#windows[slot] = window;
    return window;
  }

  setWindow(slot: number, window: TceWindow): void {
    if (this.#windows[slot] !== window) {
      fail("EPERM", "in a partition a window belongs to one group; give each group a container of its own");
    }
  }

  unsetWindow(slot: number): void {
    const window = this.#windows[slot];
    this.#windows[slot] = undefined;
    if (window === undefined) return;
    if (!this.#dynamic.delete(window)) this.#hasDefaultProperty = false;
  }

  get #hasDynamicWindows(): boolean {
    return this.facts.maxDynamicWindows !== NO_DYNAMIC_WINDOWS;
  }

  #isDefaultRequest({ pageShift, size }: WindowRequest): boolean {
    return pageShift === DEFAULT_PAGE_SHIFT && size <= this.facts.dma32Size;
  }

  /** ibm,reset-pe-dma-windows: firmware's default window is there again, cut to the size that was asked for. */
  #restoreDefault(request: WindowRequest): TceWindow {
    this.#hasDefaultProperty = true;
    return this.#window(this.facts.dma32Start, request);
  }

  /** ibm,query-pe-dma-windows and ibm,create-pe-dma-window. */
  #createDynamic(request: WindowRequest, windowShift: number): TceWindow {
    if (!this.#hasDynamicWindows) {
      this.#failed = true;
      fail("EINVAL", "the firmware of this partition has no dynamic DMA windows (ibm,ddw-applicable is absent)");
    }
    const entriesShift = windowShift - request.pageShift;
    if (shiftRight(FREE_ENTRIES, entriesShift) === 0n) {
      fail(
        "EINVAL",
        `a window of ${hex(request.size)} bytes with pages of 2^${request.pageShift} has no entry or more than the ${FREE_ENTRIES} that are free`,
      );
    }
    // The default window, which the kernel never gives back, takes one of them.
    if (entriesShift < 0 || this.#dynamic.size >= this.facts.maxDynamicWindows - 1) {
      this.#failed = true;
      fail("ENODEV", "firmware refused the window: it gave all it has, or does not know the page size");
    }
    const window = this.#window(DYNAMIC_WINDOW_START, request);
    this.#dynamic.add(window);
    return window;
  }

  #window(start: bigint, request: WindowRequest): TceWindow {
    const entries = Number(request.size >> BigInt(request.pageShift));
    return new TceWindow(addressToPage(start), request.pageShift, entries, this.tableBytes(request));
  }
}
