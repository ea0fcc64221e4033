import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_DATA_SELFTEST,
  IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
  IOMMU_TEST_INVALIDATE_FLAG_ALL,
  IommuHwptInvalidateSelftest,
  IommuHwptSelftest,
  MOCK_NESTED_DOMAIN_IOTLB_NUM,
} from "../../uapi/iommufd-test.ts";
import {
  type IntendedAttach,
  type IommuDomain,
  NO_PASID,
  type UserFormat,
  type UserInvalidation,
  type UserTable,
} from "../domain.ts";
import type { RequesterIdentity } from "../requester.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";
import type { AttachedTable, VirtualPlace } from "./device.ts";
import { MockDomain } from "./domain.ts";

/** A nested page table: numbers that stand for its TLB (selftest.c:struct mock_iommu_domain_nested). */
export class MockTable implements UserTable, AttachedTable {
  readonly iotlb: number[];
  readonly #virtualIommu: VirtualIommuGround | undefined;

  /**
   * @param iotlb what all entries hold
   * @param virtualIommu whose it is; undefined for one that is nested on a page table itself
   */
  constructor(iotlb: number, virtualIommu?: VirtualIommuGround) {
    this.iotlb = new Array(MOCK_NESTED_DOMAIN_IOTLB_NUM).fill(iotlb);
    this.#virtualIommu = virtualIommu;
  }

  check({ devices, pasid }: IntendedAttach): void {
    if (!this.#virtualIommu || pasid !== NO_PASID) return;
    for (const device of devices) {
      if (this.#virtualIommu.numberOf(device) === undefined) {
        fail("ENOENT", `${device.name} has no number in this virtual IOMMU (IOMMU_VDEVICE_ALLOC)`);
      }
    }
  }

  placeOf(device: RequesterIdentity): VirtualPlace | undefined {
    const number = this.#virtualIommu?.numberOf(device);
    return this.#virtualIommu && number !== undefined ? { virtualIommu: this.#virtualIommu, number } : undefined;
  }

  nestedOn(parent: IommuDomain): IommuDomain {
    if (!(parent instanceof MockDomain)) throw new Error("a mock table is nested on mock domains");
    return parent.nested(this);
  }

  invalidate(flags: number, entry: number, what: string): void {
    const isAll = checkSelection(flags, entry, this.iotlb.length, what);
    if (isAll) this.iotlb.fill(0);
    else this.iotlb[entry] = 0;
  }
}

/**
 * Looks at what of several entries is to be invalidated. Returns whether all of them are.
 * @throws KernelError EOPNOTSUPP, EINVAL
 */
export function checkSelection(flags: number, entry: number, entries: number, what: string): boolean {
  const unknown = (flags & ~IOMMU_TEST_INVALIDATE_FLAG_ALL) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `${what} has unknown flags ${hex(unknown)}`);
  if (entry >= entries) fail("EINVAL", `${what} is about entry ${entry}, and there are ${entries}`);
  return (flags & IOMMU_TEST_INVALIDATE_FLAG_ALL) !== 0;
}

/** A nested page table of a virtual IOMMU's, or of none. */
export function mockTables(virtualIommu?: VirtualIommuGround): UserFormat<UserTable> {
  return {
    type: IOMMU_HWPT_DATA_SELFTEST,
    name: IommuHwptSelftest.name,
    size: IommuHwptSelftest.size,
    minimum: IommuHwptSelftest.endOf("iotlb"),
    decode: (bytes, littleEndian) => new MockTable(IommuHwptSelftest.decode(bytes, littleEndian).iotlb, virtualIommu),
  };
}

export const MOCK_TABLES = mockTables();

/** selftest.c:mock_domain_cache_invalidate_user */
export const MOCK_INVALIDATIONS: UserFormat<UserInvalidation> = {
  type: IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
  name: IommuHwptInvalidateSelftest.name,
  size: IommuHwptInvalidateSelftest.size,
  decode: (bytes, littleEndian) => {
    const { flags, iotlb_id } = IommuHwptInvalidateSelftest.decode(bytes, littleEndian);
    return { apply: (_domain, what, table) => (table as MockTable).invalidate(flags, iotlb_id, what) };
  },
};
