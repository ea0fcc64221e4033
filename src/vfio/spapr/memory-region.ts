import { PAGE_SHIFT, PAGE_SIZE, pageRunBytes } from "../../address/pages.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { hexRange } from "../../kernel/errors.ts";

/** User addresses of the widest kernel (64K pages) end at 2^52: nothing is mapped from this page (4 KiB) on. */
export const USER_PAGES = 2 ** 40;

/**
 * Memory that a process registered (struct mm_iommu_table_group_mem_t): pinned, charged, and the only thing that
 * version 2 maps. Page numbers are in 4 KiB.
 */
export class MemoryRegion {
  readonly space: AddressSpace;
  readonly startPage: number;
  readonly pages: number;
  /** What AddressSpace.pin() returned. */
  readonly pin: number;
  /** log2 of the bytes of the largest IOMMU page that it can back. */
  readonly pageShift: number;
  /** What TCEs name it with while the process has it (ProcessRegions). */
  id = -1;
  /** References: containers that registered it, and what defects left. */
  used = 1;
  /** Live TCEs that point into it. */
  mapped = 0;
  /** Runs of ordinary pages behind a beginning of huge ones, as first page and the one behind the last. */
  readonly #ordinary: readonly (readonly [number, number])[];

  constructor(space: AddressSpace, startPage: number, pages: number, pin: number, kernelPageSize: number) {
    this.space = space;
    this.startPage = startPage;
    this.pages = pages;
    this.pin = pin;
    const backing = largestPage(space, startPage, pages, kernelPageSize);
    this.pageShift = backing.shift;
    this.#ordinary = backing.ordinary;
  }

  get label(): string {
    const { start, last } = pageRunBytes(this.startPage, this.pages);
    return `the registered memory ${hexRange(start, last)}`;
  }

  /** Whether isContained() holds for all of its pages. */
  get isUniform(): boolean {
    return this.#ordinary.length === 0;
  }

  /** How many pages it has from one of its pages on. */
  pagesFrom(page: number): number {
    return this.startPage + this.pages - page;
  }

  /**
   * Whether a page of this many 4 KiB pages, no larger than the region can back, is in one piece
   * (tce_page_is_contained).
   */
  isContained(page: number): boolean {
    return this.#ordinary.length === 0 || !this.#ordinary.some(([first, end]) => page >= first && page < end);
  }

  /** DMA: bytes into the region. */
  read(offset: number, into: Uint8Array): void {
    this.space.readPinned(this.pin, this.startPage * PAGE_SIZE, offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.space.writePinned(this.pin, this.startPage * PAGE_SIZE, offset, from);
  }
}

/**
 * The size of the smallest huge page that backs the region, as far as start and length are multiples of it; the
 * kernel's page for ordinary memory. Ordinary pages count only at the beginning: behind a huge page the kernel forgets
 * to look at them and refuses them when they are mapped (iommu_api.c:mm_iommu_do_alloc carries the size along).
 */
function largestPage(space: AddressSpace, startPage: number, pages: number, kernelPageSize: number) {
  const kernelShift = Math.log2(kernelPageSize);
  const ordinary: [number, number][] = [];
  const aligned = Math.min(alignment(startPage), alignment(pages));
  if (aligned <= kernelShift || space.hugePageShift(startPage * PAGE_SIZE) <= kernelShift) {
    return { shift: kernelShift, ordinary };
  }
  let shift = aligned;
  for (let page = startPage; page < startPage + pages; ) {
    const huge = space.hugePageShift(page * PAGE_SIZE);
    if (huge > kernelShift) {
      shift = Math.min(shift, huge);
      const span = 2 ** (huge - PAGE_SHIFT);
      page = (Math.floor(page / span) + 1) * span;
      continue;
    }
    const next = page + kernelPageSize / PAGE_SIZE;
    const run = ordinary.at(-1);
    if (run?.[1] === page) run[1] = next;
    else ordinary.push([page, next]);
    page = next;
  }
  return { shift, ordinary };
}

/** log2 of the bytes that a number of 4 KiB pages is a multiple of. */
function alignment(pages: number): number {
  if (pages === 0) return 64;
  let shift = PAGE_SHIFT;
  for (let rest = pages; rest % 2 === 0; rest /= 2) shift++;
  return shift;
}
