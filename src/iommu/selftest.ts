import type { UserTable } from "./domain.ts";
import type { RequesterIdentity } from "./requester.ts";
import type { IommuUnit } from "./unit.ts";

/** A device without hardware, behind an IOMMU that was made for tests of iommufd. */
export interface SelftestDevice {
  readonly identity: RequesterIdentity;
  /** Its IOMMU, with what it has for this device. */
  readonly unit: IommuUnit;
  /** An entry of what stands for its caches; undefined for a number that is none. */
  cached(entry: number): number | undefined;
  /**
   * Has its virtual IOMMU report something (selftest.c:iommufd_test_trigger_vevent).
   * @throws KernelError ENOENT when it is attached to none, EOPNOTSUPP when nobody listens
   */
  reportEvent(): void;
  /** It is no more. */
  remove(): void;
}

/** IOMMUs that were made for the kernel's own tests, as those look into them (drivers/iommu/iommufd/selftest.c). */
export interface SelftestIommus {
  /**
   * @param unit the host's IOMMU
   * @param flags MOCK_FLAGS_DEVICE_*. EINVAL for others
   */
  makeDevice(unit: IommuUnit, flags: number): SelftestDevice;
  /** The device of an identity; undefined for others than these. */
  find(identity: RequesterIdentity): SelftestDevice | undefined;
  /** An entry of what stands for the TLB of a nested page table; undefined for a number that is none. */
  translated(table: UserTable, entry: number): number | undefined;
}
