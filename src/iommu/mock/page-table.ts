import { fail } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_DATA_SELFTEST,
  IommuHwptSelftest,
  MOCK_HUGE_PAGE_SIZE,
  MOCK_IOMMUPT_DEFAULT,
  MOCK_IOMMUPT_HUGE,
} from "../../uapi/iommufd-test.ts";
import { lastOfBits } from "../address-bits.ts";
import type { UserFormat } from "../domain.ts";
import type { IommuUnit } from "../unit.ts";

/** Address bits of its tables with two levels to start with, which grow to more (hw_max_vasz_lg2). */
const ADDRESS_BITS = 56;

/** What a caller says of a page table over an address space (selftest.c:mock_domain_alloc_pgtable). */
export const MOCK_PAGE_TABLES: UserFormat<(unit: IommuUnit) => IommuUnit> = {
  type: IOMMU_HWPT_DATA_SELFTEST,
  name: IommuHwptSelftest.name,
  size: IommuHwptSelftest.size,
  minimum: IommuHwptSelftest.endOf("iotlb"),
  decode: (bytes, littleEndian) => {
    const { pagetable_type: type } = IommuHwptSelftest.decode(bytes, littleEndian);
    return (unit) => {
      if (type === MOCK_IOMMUPT_DEFAULT) return unit;
      if (type === MOCK_IOMMUPT_HUGE) return withHugePages(unit);
      fail("EOPNOTSUPP", `pagetable_type ${type} is unknown (0 default, 1 huge)`);
    };
  },
};

/** Tables of large pages, and of the kernel's small ones, without which an iommufd takes none; all addresses. */
function withHugePages(unit: IommuUnit): IommuUnit {
  return {
    ...unit,
    label: `${unit.label}, huge pages`,
    apertureStart: 0n,
    apertureLast: lastOfBits(ADDRESS_BITS),
    pageSizes: BigInt(MOCK_HUGE_PAGE_SIZE | 4096),
  };
}
