import { NoTarget } from "../dma-target.ts";
import { type IommuDomain, NO_PASID } from "../domain.ts";
import type { Place, Requester } from "../requester.ts";
import type { AttachedTable, MockDevices } from "./device.ts";

const NOWHERE = new NoTarget("the page tables of iommufd's selftests translate for no device");

/** What mock devices are attached to (selftest.c:struct mock_iommu_domain, mock_iommu_domain_nested). */
export class MockDomain implements IommuDomain {
  readonly #devices: MockDevices;
  readonly #table: AttachedTable | undefined;

  /** @param table the guest's; undefined for the page table of an address space */
  constructor(devices: MockDevices, table: AttachedTable | undefined) {
    this.#devices = devices;
    this.#table = table;
  }

  /** A guest's table over this one. */
  nested(table: AttachedTable): MockDomain {
    return new MockDomain(this.#devices, table);
  }

  /** selftest.c:mock_domain_nop_attach, mock_domain_set_dev_pasid_nop */
  attach(requester: Requester, pasid: number): Place {
    const device = this.#devices.find(requester.identity);
    if (pasid === NO_PASID) {
      if (device) device.place = this.#table?.placeOf(requester.identity);
    } else {
      device?.checkChange(pasid);
      device?.noteChange(pasid);
    }
    this.#devices.count(1);
    let isLeft = false;
    return {
      requester,
      reach: () => NOWHERE,
      leave: () => {
        if (isLeft) return;
        isLeft = true;
        this.#devices.count(-1);
        if (device && pasid === NO_PASID) device.place = undefined;
        device?.noteDetach(pasid);
      },
    };
  }

  reserve(requester: Requester, pasid: number): () => void {
    this.#devices.find(requester.identity)?.checkChange(pasid);
    return () => {};
  }

  flush(): void {}

  flushRange(): void {}
}
