import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
} from "../../uapi/iommufd-hwpt.ts";
import * as test from "../../uapi/iommufd-test.ts";
import {
  IOMMU_HW_INFO_SELFTEST_REGVAL,
  IOMMU_HW_INFO_TYPE_SELFTEST,
  IommuTestHwInfo,
} from "../../uapi/iommufd-test.ts";
import { bitsOfLast, lastOfBits } from "../address-bits.ts";
import { captureWithoutFacts, type IommuKind, PLAIN_DRIVER } from "../kind.ts";
import { MockIommus } from "./iommus.ts";
import { MOCK_PAGE_TABLES } from "./page-table.ts";
import { MOCK_VIRTUAL_IOMMU } from "./virtual-iommu.ts";

/** Every power of two from the smallest page on, without 512 GiB (generic_pt/fmt/amdv1.h:amdv1pt_possible_sizes). */
const PAGE_SIZES = (2n ** 51n - BigInt(test.MOCK_PAGE_SIZE)) & ~(2n ** 39n);

/**
 * The IOMMU that the kernel makes up to test iommufd with, on page tables of AMD's first version with pages of 2 KiB
 * (drivers/iommu/iommufd/selftest.c, CONFIG_IOMMUFD_TEST). It has no devices but those that the tests ask for.
 */
export const mock: IommuKind = {
  model: "mock",
  title: "the IOMMU of iommufd's selftests",
  translates: true,
  usualArch: "x86_64",
  defaults: {
    aperture: { start: BigInt(test.MOCK_APERTURE_START), last: BigInt(test.MOCK_APERTURE_LAST) },
    lastOfBits,
    bitsOfLast,
    pageSizes: () => PAGE_SIZES,
    cacheCoherent: true,
    interruptRemapping: () => true,
    reservedRegions: () => [],
    groupType: "unknown",
    container: "type1",
  },
  ownKeys: [],
  isForSelftests: true,
  makeNesting: () => new MockIommus(),
  tracksDirtyPages: "yes",
  needs: "selftestCommand",
  driver: { ...PLAIN_DRIVER, secondStage: (unit) => unit },
  // selftest.c:mock_domain_alloc_paging_flags, mock_ops
  iommufd: {
    hwptFlags: IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID,
    nests: true,
    virtualIommus: [MOCK_VIRTUAL_IOMMU],
    pagingData: MOCK_PAGE_TABLES,
    walksAnyTable: true,
    infoType: IOMMU_HW_INFO_TYPE_SELFTEST,
    info: () => IommuTestHwInfo.encode({ test_reg: IOMMU_HW_INFO_SELFTEST_REGVAL }),
  },
  sysfs: {
    name: "iommufd_selftest_iommu.0",
    names: /^iommufd_selftest_iommu\./,
    attributes: () => [],
    capture: (source) => captureWithoutFacts("mock", source),
  },
};
