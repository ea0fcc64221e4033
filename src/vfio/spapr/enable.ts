import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { charge, uncharge } from "./locked-memory.ts";
import type { TceContainer } from "./tce-container.ts";

/**
 * VFIO_IOMMU_ENABLE of version 1: mapping is allowed, and the whole 32-bit window counts as locked memory, mapped or
 * not (vfio_iommu_spapr_tce.c:tce_iommu_enable). EBUSY, ENODEV, EPERM, ENOMEM.
 */
export function enable(container: TceContainer, task: Task): number {
  if (container.enabled) fail("EBUSY", "the container is enabled already");
  const first = container.groups[0];
  if (first === undefined) fail("ENODEV", "the container has no group");
  const { dma32Size } = first.endpoint.facts;
  if (dma32Size === 0n) fail("EPERM", `${first.group.label} has no 32-bit window`);
  container.own(task);
  const { pageSize } = container.context;
  const pages = Number(dma32Size / BigInt(pageSize));
  charge(task, container.ownerMemory, pages, pageSize, "the 32-bit window, mapped or not,");
  container.enableCharge = pages;
  container.enabled = true;
  return 0;
}

/**
 * VFIO_IOMMU_DISABLE: windows and mappings stay, but nothing can be mapped or unmapped until the next ENABLE. Always 0.
 */
export function disable(container: TceContainer): number {
  if (!container.enabled) return 0;
  container.enabled = false;
  uncharge(container.ownerMemory, container.enableCharge, container.context.pageSize);
  return 0;
}
