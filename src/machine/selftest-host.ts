import { kindOf } from "../iommu/kinds.ts";
import type { HostDescription } from "./host-description.ts";
import { mock } from "./hosts/mock.ts";

/** The ready-made host for the kernel's tests of iommufd. */
export const SELFTEST_HOST = mock.name;

/** Whether a host has the kernel that was built for its own tests: one for iommufd's, with faults to inject. */
export function isForSelftests({ iommu }: HostDescription): boolean {
  return kindOf(iommu.model).isForSelftests === true;
}
