import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
  IOMMU_VTD_INV_FLAGS_LEAF,
  IommuHwptVtdS1Invalidate,
} from "../../uapi/iommufd-hwpt.ts";
import type { IommuDomain, UserFormat, UserInvalidation } from "../domain.ts";

const ALL_PAGES = 2n ** 64n - 1n;

interface Range {
  readonly addr: bigint;
  readonly npages: bigint;
  readonly flags: number;
  readonly __reserved: number;
}

function apply({ addr, npages, flags, __reserved }: Range, domain: IommuDomain | undefined, what: string): void {
  const unknown = (flags & ~IOMMU_VTD_INV_FLAGS_LEAF) >>> 0;
  if (unknown || __reserved)
    fail("EOPNOTSUPP", `${what} has unknown flags ${hex(unknown)}, or its __reserved is not 0`);
  if (addr & 0xfffn || (npages === ALL_PAGES && addr !== 0n)) {
    fail("EINVAL", `${what}: address ${hex(addr)} is no page's first, or not 0 for all pages`);
  }
  const last = BigInt.asUintN(64, addr + npages * 4096n - 1n);
  domain?.flushRange(addr, last, (flags & IOMMU_VTD_INV_FLAGS_LEAF) !== 0);
}

/** intel/nested.c:intel_nested_cache_invalidate_user */
export const VTD_INVALIDATIONS: UserFormat<UserInvalidation> = {
  type: IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
  name: IommuHwptVtdS1Invalidate.name,
  size: IommuHwptVtdS1Invalidate.size,
  decode: (bytes) => {
    const range = IommuHwptVtdS1Invalidate.decode(bytes);
    return { apply: (domain, what) => apply(range, domain, what) };
  },
};
