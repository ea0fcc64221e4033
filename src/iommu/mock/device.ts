import { fail } from "../../kernel/errors.ts";
import {
  IOMMU_TEST_DEV_CACHE_DEFAULT,
  IOMMU_TEST_PASID_RESERVED,
  IOMMU_VEVENTQ_TYPE_SELFTEST,
  IommuViommuEventSelftest,
  MOCK_DEV_CACHE_NUM,
} from "../../uapi/iommufd-test.ts";
import type { RequesterIdentity } from "../requester.ts";
import type { SelftestDevice } from "../selftest.ts";
import type { IommuUnit } from "../unit.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";

/** Which virtual IOMMU a device is attached through, and the number that it has there. */
export interface VirtualPlace {
  readonly virtualIommu: VirtualIommuGround;
  readonly number: bigint;
}

/** The mock devices of a host. */
export interface MockDevices {
  /** Devices that a host file describes take part too; they have nothing for tests to look at. */
  find(identity: RequesterIdentity): MockDevice | undefined;
  /** A place in the IOMMU was made, or left. */
  count(places: 1 | -1): void;
}

/** A page table by which devices are attached through a virtual IOMMU, or through none. */
export interface AttachedTable {
  /** Where a device is that is attached to it now. */
  placeOf(device: RequesterIdentity): VirtualPlace | undefined;
}

/** A device that only is there to be bound and attached (selftest.c:struct mock_dev). */
export class MockDevice implements SelftestDevice {
  readonly identity: RequesterIdentity;
  readonly unit: IommuUnit;
  readonly cache: number[] = new Array(MOCK_DEV_CACHE_NUM).fill(IOMMU_TEST_DEV_CACHE_DEFAULT);
  /** Undefined while it is attached to no nested page table of a virtual IOMMU's. */
  place: VirtualPlace | undefined;
  readonly #gone: () => void;
  /** The next change of what the reserved PASID is attached to fails (pasid_1024_fake_error). */
  #failsNext = false;

  constructor(identity: RequesterIdentity, unit: IommuUnit, gone: () => void) {
    this.identity = identity;
    this.unit = unit;
    this.#gone = gone;
  }

  cached(entry: number): number | undefined {
    return this.cache[entry];
  }

  /** What a PASID is attached to is to change. ENOMEM, once, for every second change of the reserved PASID. */
  checkChange(pasid: number): void {
    if (pasid !== IOMMU_TEST_PASID_RESERVED || !this.#failsNext) return;
    this.#failsNext = false;
    fail("ENOMEM", `the test's driver fails every second change of PASID ${pasid}, as its source has it`);
  }

  /** It is made (selftest.c:mock_domain_set_dev_pasid_nop). */
  noteChange(pasid: number): void {
    if (pasid === IOMMU_TEST_PASID_RESERVED) this.#failsNext = true;
  }

  /** The PASID is detached. */
  noteDetach(pasid: number): void {
    if (pasid === IOMMU_TEST_PASID_RESERVED) this.#failsNext = false;
  }

  reportEvent(): void {
    const { identity, place } = this;
    // a number of 0 counts as none there
    if (!place || place.number === 0n) fail("ENOENT", `${identity.name} is attached through no virtual IOMMU`);
    const { virtualIommu, number } = place;
    const event = { virt_id: Number(BigInt.asUintN(32, number)) };
    virtualIommu.report(
      IOMMU_VEVENTQ_TYPE_SELFTEST,
      IommuViommuEventSelftest.encode(event, 0, virtualIommu.littleEndian),
    );
  }

  remove(): void {
    this.#gone();
  }
}
