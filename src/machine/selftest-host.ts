import { kindOf } from "../iommu/kinds.ts";
import type { HostDescription } from "./host-description.ts";

/** Whether a host has the kernel that was built for its own tests: one for iommufd's, with faults to inject. */
export function isForSelftests({ iommu }: HostDescription): boolean {
  return kindOf(iommu.model).isForSelftests === true;
}
