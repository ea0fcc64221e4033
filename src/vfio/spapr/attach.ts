import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { TceEndpoint } from "../../iommu/tce/endpoint.ts";
import { fail } from "../../kernel/errors.ts";
import { disable } from "./enable.ts";
import type { TceContainer } from "./tce-container.ts";
import { releaseRegion } from "./unregister-memory.ts";
import { freeWindow } from "./windows.ts";

/**
 * Takes a group in: checks in the order of vfio_iommu_spapr_tce.c:tce_iommu_attach_group.
 * @param endpoint undefined for a group that is no endpoint of a PCI host bridge
 */
export function attachGroup(container: TceContainer, group: DmaGroup, endpoint: TceEndpoint | undefined): void {
  const { groups, v2 } = container;
  if (endpoint === undefined) fail("ENODEV", `${group.label} is behind no PCI host bridge with DMA windows`);
  if (v2 && endpoint.facts.maxDynamicWindows === 0) {
    fail("EINVAL", `${group.label} has no dynamic DMA windows, which version 2 needs; take version 1`);
  }
  if (!v2 && groups.length > 0) {
    fail(
      "EBUSY",
      `version 1 takes one group, and ${groups[0]!.group.label} is in the container; take version 2 or another container`,
    );
  }
  if (groups.some((attached) => attached.group === group)) fail("EBUSY", `${group.label} is in the container already`);
  if (groups.some((attached) => attached.endpoint.kind !== endpoint.kind)) {
    fail("EPERM", `${group.label} and ${groups[0]!.group.label} belong to platforms of different kinds`);
  }
  endpoint.takeOwnership();
  try {
    setWindows(container, endpoint);
  } catch (error) {
    endpoint.releaseOwnership();
    throw error;
  } finally {
    if (groups.length === 0 && container.windows[0] === undefined) container.defaultPending = true;
  }
  groups.unshift({ group, endpoint });
}

/** A new group gets the windows that there are, or none. */
function setWindows(container: TceContainer, endpoint: TceEndpoint): void {
  try {
    for (const [slot, window] of container.windows.entries()) if (window) endpoint.setWindow(slot, window);
  } catch (error) {
    for (const slot of container.windows.keys()) endpoint.unsetWindow(slot);
    throw error;
  }
}

/** Lets a group go: all windows are emptied, for those that stay too (tce_iommu_release_ownership). */
export function detachGroup(container: TceContainer, group: DmaGroup): void {
  const index = container.groups.findIndex((attached) => attached.group === group);
  if (index < 0) return;
  const [left] = container.groups.splice(index, 1);
  const { endpoint } = left!;
  for (const [slot, window] of container.windows.entries()) {
    if (window === undefined) continue;
    container.clearAll(window);
    endpoint.unsetWindow(slot);
  }
  endpoint.releaseOwnership();
}

/**
 * The container lets go of its IOMMU: windows, regions and charges (tce_iommu_release). Its groups are gone already.
 */
export function releaseContainer(container: TceContainer): void {
  for (const slot of container.windows.keys()) freeWindow(container, slot);
  for (const region of container.registered) releaseRegion(container, region);
  container.registered.clear();
  disable(container);
}
