import { PAGE_SIZE } from "../../address/pages.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { leftRegistered } from "./defects.ts";
import { uncharge } from "./locked-memory.ts";
import type { MemoryRegion } from "./memory-region.ts";
import type { TceContainer } from "./tce-container.ts";
import { readRange } from "./user-range.ts";

/**
 * VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY (vfio_iommu_spapr_tce.c:tce_iommu_unregister_pages). EPERM, EFAULT, EINVAL,
 * ENOENT.
 */
export function unregisterMemory(container: TceContainer, task: Task, arg: Word): number {
  if (container.owner === undefined) {
    fail("EPERM", "nobody owns the container yet, so that nothing can be registered in it");
  }
  const range = readRange(container, task, arg);
  const region = container.regions.exact(range.startPage, range.pages);
  if (region === undefined || !container.registered.has(region)) {
    fail("ENOENT", `${range.label} was not registered in this container with exactly this address and size`);
  }
  container.registered.delete(region);
  const { mapped } = region;
  if (!releaseRegion(container, region)) container.context.warn(leftRegistered(region.label, mapped));
  return 0;
}

/**
 * Gives back one reference to a region; the last one unpins it and takes its charge back (iommu_api.c:mm_iommu_put).
 * While TCEs point into it the last reference cannot go: it stays, and with it the region. False then.
 */
export function releaseRegion(container: TceContainer, region: MemoryRegion): boolean {
  if (region.used > 1) {
    region.used--;
    return true;
  }
  if (region.mapped > 0) return false;
  const { space, pages, pin } = region;
  container.regions.remove(region);
  space.unpin(pin);
  const { pageSize } = container.context;
  uncharge(space, (pages * PAGE_SIZE) / pageSize, pageSize);
  return true;
}
