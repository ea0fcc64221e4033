import { kindOf } from "../../iommu/kinds.ts";
import { DEFAULT_MODULES } from "../describe.ts";
import type { HostDescription } from "../host-description.ts";

/**
 * A host for the kernel's own tests of iommufd: its IOMMU is the one that a kernel makes up for them, and it has no
 * devices but those that they ask for.
 */
export const mock: HostDescription = {
  name: "mock",
  description: "the IOMMU of iommufd's selftests (IOMMU_TEST_CMD), no devices, /dev/iommu",
  kernel: "7.2",
  api: "mainline",
  arch: "x86_64",
  pageSize: 4096,
  vfioContainer: "type1",
  iommufd: true,
  iommu: {
    model: "mock",
    apertureStart: kindOf("mock").defaults.aperture.start,
    apertureLast: kindOf("mock").defaults.aperture.last,
    pageSizes: kindOf("mock").defaults.pageSizes(4096),
    cacheCoherent: true,
    interruptRemapping: true,
    nesting: true,
    dirtyTracking: true,
  },
  modules: { ...DEFAULT_MODULES, vfio: { enableUnsafeNoiommuMode: false } },
  groups: [],
};
