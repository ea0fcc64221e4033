import { PAGE_SIZE } from "../../address/pages.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { partlyPinned } from "./defects.ts";
import { charge, uncharge } from "./locked-memory.ts";
import { MemoryRegion, USER_PAGES } from "./memory-region.ts";
import type { TceContainer } from "./tce-container.ts";
import { readRange, type UserRange } from "./user-range.ts";

/**
 * Bytes of the kernel's array of page pointers that one pin_user_pages() fills (mm_iommu_do_alloc: PAGE_SIZE <<
 * MAX_PAGE_ORDER).
 */
const CHUNK_BYTES = 2 ** 24;
const POINTER_BYTES = 8;
const PAGES_PER_CHUNK = CHUNK_BYTES / POINTER_BYTES;

/**
 * VFIO_IOMMU_SPAPR_REGISTER_MEMORY: pins and charges memory, which may be mapped from then on
 * (vfio_iommu_spapr_tce.c:tce_iommu_register_pages, arch/powerpc/mm/book3s64/iommu_api.c:mm_iommu_do_alloc).
 */
export function registerMemory(container: TceContainer, task: Task, arg: Word): number {
  container.own(task);
  const range = readRange(container, task, arg);
  if (range.wraps) fail("EINVAL", `${range.label} runs up to or past 2^64`);
  const known = container.regions.exact(range.startPage, range.pages);
  if (known === undefined) {
    const pinned = addRegion(container, task, range);
    if (pinned > 0) return pinned;
  } else {
    if (container.registered.has(known)) fail("EBUSY", `${known.label} is registered in this container already`);
    known.used++;
    container.registered.add(known);
  }
  container.enabled = true;
  return 0;
}

/**
 * A new region of the process. Returns 0, or the number of pages that the kernel's last step could pin when it was not
 * all.
 */
function addRegion(container: TceContainer, task: Task, range: UserRange): number {
  const { ownerMemory: space } = container;
  const { pageSize } = container.context;
  const kernelPages = (range.pages * PAGE_SIZE) / pageSize;
  charge(task, space, kernelPages, pageSize, range.label);
  let result = -1;
  try {
    result = pinRegion(container, range, kernelPages);
  } finally {
    if (result !== 0) uncharge(space, kernelPages, pageSize);
  }
  return result;
}

function pinRegion(container: TceContainer, { startPage, pages, label }: UserRange, kernelPages: number): number {
  const { regions, ownerMemory: space } = container;
  if (kernelPages === 0) fail("ENOMEM", "0 bytes: the kernel finds no memory for a list of no pages");
  if (pages > USER_PAGES) {
    fail("ENOMEM", `${label} is more than a process can have: no memory for the list of its pages`);
  }
  const pinned = pinnablePages(container, startPage, pages);
  if (pinned < kernelPages) return refusePartly(container, label, pinned);
  const overlapped = regions.overlapping(startPage, pages);
  if (overlapped) fail("EINVAL", `${label} overlaps ${overlapped.label}; unregister that first`);
  const pin = space.pin(startPage * PAGE_SIZE, (pages * PAGE_SIZE) / space.pageSize, true, Number.POSITIVE_INFINITY);
  if (pin < 0) fail("EFAULT", `${label} cannot be pinned`);
  const region = new MemoryRegion(space, startPage, pages, pin, container.context.pageSize);
  regions.add(region);
  container.registered.add(region);
  return 0;
}

/** How many pages of the kernel can be pinned from the beginning on. */
function pinnablePages(container: TceContainer, startPage: number, pages: number): number {
  const { ownerMemory: space, context } = container;
  const reachable = Math.max(0, Math.min(pages, USER_PAGES - startPage));
  if (reachable === 0) return 0;
  const found = space.pinnable(startPage * PAGE_SIZE, (reachable * PAGE_SIZE) / space.pageSize, true);
  return Math.floor((found * space.pageSize) / context.pageSize);
}

/** What the last pin_user_pages() returned: EFAULT when it pinned nothing, else its count, which reads as success. */
function refusePartly(container: TceContainer, label: string, pinned: number): number {
  const inLastChunk = pinned % PAGES_PER_CHUNK;
  if (inLastChunk === 0) fail("EFAULT", `${label} cannot be pinned: it is not mapped, not writable or no memory`);
  container.context.warn(partlyPinned(inLastChunk));
  return inLastChunk;
}
