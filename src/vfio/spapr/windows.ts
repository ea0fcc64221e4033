import type { TceWindow, WindowRequest } from "../../iommu/tce/tce-window.ts";
import { fail, KernelError } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { leakedCharge } from "./defects.ts";
import { charge, uncharge } from "./locked-memory.ts";
import type { TceContainer } from "./tce-container.ts";

/** log2 of the bytes of the default window's pages (IOMMU_PAGE_SHIFT_4K). */
const DEFAULT_PAGE_SHIFT = 12;

/**
 * Makes a window in the lowest free slot of every group (vfio_iommu_spapr_tce.c:tce_iommu_create_window). When one
 * group refuses it, those that have it give it back, and the table is freed. ENOSPC, EINVAL, ENOMEM, and what the
 * platform says.
 */
export function createWindow(container: TceContainer, task: Task, request: WindowRequest): TceWindow {
  const slot = container.windows.indexOf(undefined);
  if (slot < 0) {
    fail("ENOSPC", `both windows of the container are taken (${container.windowsText}); remove one first`);
  }
  const window = createTable(container, task, slot, request);
  try {
    for (const { endpoint } of container.groups) endpoint.setWindow(slot, window);
  } catch (error) {
    for (const { endpoint } of container.groups) endpoint.unsetWindow(slot);
    unchargeTable(container, window.tableBytes);
    throw error;
  }
  container.windows[slot] = window;
  return window;
}

/** Builds the default window if it is due: by the first request that needs windows. Its errors are that request's. */
export function buildDefaultWindow(container: TceContainer, task: Task): void {
  if (!container.defaultPending) return;
  const first = container.groups[0];
  if (first === undefined) fail("ENODEV", "the container has no group");
  createWindow(container, task, {
    pageShift: DEFAULT_PAGE_SHIFT,
    size: first.endpoint.facts.dma32Size,
    levels: 1,
  });
  container.defaultPending = false;
}

/**
 * Empties a window, takes it away from all groups and frees its table, whatever is mapped (tce_iommu_remove_window).
 */
export function removeWindow(container: TceContainer, window: TceWindow): void {
  const slot = container.windows.indexOf(window);
  container.clearAll(window);
  for (const { endpoint } of container.groups) endpoint.unsetWindow(slot);
  freeWindow(container, slot);
}

/** Frees the table in a slot, if there is one, and takes its charge back (tce_iommu_free_table). */
export function freeWindow(container: TceContainer, slot: number): void {
  const window = container.windows[slot];
  if (window === undefined) return;
  unchargeTable(container, window.tableBytes);
  container.windows[slot] = undefined;
}

/** tce_iommu_create_table(): charges the table first, and keeps the charge when the table cannot be made. */
function createTable(container: TceContainer, task: Task, slot: number, request: WindowRequest): TceWindow {
  const { endpoint, group } = container.groups[0]!;
  if (!hasPageSize(container, endpoint.facts.pageSizes, request.pageShift)) {
    fail(
      "EINVAL",
      `${group.label} has no IOMMU pages of 2^${request.pageShift} bytes (ddw.pgsizes is 0x${endpoint.facts.pageSizes.toString(16)})`,
    );
  }
  const bytes = endpoint.tableBytes(request);
  if (bytes === 0n) {
    fail(
      "EINVAL",
      `no table for a window of 0x${request.size.toString(16)} bytes with pages of 2^${request.pageShift} and ${request.levels} levels: the size must be a power of two, and at least about a page`,
    );
  }
  const { context } = container;
  const pages = container.tablePages(bytes);
  charge(task, container.ownerMemory, pages, context.pageSize, "the window's table");
  try {
    return endpoint.createTable(slot, request);
  } catch (error) {
    if (pages > 0 && error instanceof KernelError) context.warn(leakedCharge(pages, context.pageSize, error.reason));
    throw error;
  }
}

/** A shift of 128 and more tests the bit that its low 7 bits name in builds that leave such shifts to the processor. */
function hasPageSize({ context }: TceContainer, pageSizes: bigint, pageShift: number): boolean {
  const bit = context.release.has("tceShiftWraps") ? pageShift & 127 : pageShift;
  return bit < 64 && (pageSizes & (1n << BigInt(bit))) !== 0n;
}

function unchargeTable(container: TceContainer, bytes: bigint): void {
  // a container that never made a window has no owner either
  if (bytes > 0n) uncharge(container.ownerMemory, container.tablePages(bytes), container.context.pageSize);
}
