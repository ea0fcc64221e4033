import { fail, hex } from "../../kernel/errors.ts";
import { MOCK_FLAGS_DEVICE_NO_DIRTY, MOCK_FLAGS_DEVICE_PASID } from "../../uapi/iommufd-test.ts";
import { type DmaTarget, NoTarget } from "../dma-target.ts";
import type { Mappings, Stage, UserTable } from "../domain.ts";
import { IdSet } from "../id-set.ts";
import type { NestingIommus, NestingUse } from "../nesting-iommus.ts";
import { type DmaOwner, Requester, type RequesterIdentity } from "../requester.ts";
import type { SelftestDevice, SelftestIommus } from "../selftest.ts";
import type { IommuUnit } from "../unit.ts";
import { MockDevice, type MockDevices } from "./device.ts";
import { MockDomain } from "./domain.ts";
import { MOCK_INVALIDATIONS, MOCK_TABLES, MockTable } from "./nested-table.ts";

const KNOWN_FLAGS = MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID;
/** Devices of a host at one time. */
const MOST_DEVICES = 65536;
/** PCI has segments of 16 bits: these devices are on a bus of their own. */
const NO_SEGMENT = -1;

const UNTRANSLATED = new NoTarget("a device of iommufd's selftests makes no requests");

/** The mock devices of a host, and what they are attached to. No DMA ever goes through it: the devices have none. */
export class MockIommus implements NestingIommus, SelftestIommus, MockDevices {
  readonly tables = MOCK_TABLES;
  readonly invalidations = MOCK_INVALIDATIONS;
  readonly proposed = undefined;
  readonly #devices = new Map<RequesterIdentity, MockDevice>();
  readonly #ids = new IdSet(MOST_DEVICES);
  #requesters = 0;
  #places = 0;

  get selftest(): SelftestIommus {
    return this;
  }

  get use(): NestingUse {
    return { requesters: this.#requesters, domains: 0, entries: this.#places, tablePages: 0, secondLevels: 0 };
  }

  connect(identity: RequesterIdentity, owner: DmaOwner, plain: DmaTarget): Requester {
    this.#requesters++;
    return new Requester(identity, owner, plain, () => UNTRANSLATED);
  }

  disconnect(): void {
    this.#requesters--;
  }

  paging(_mappings: Mappings, _stage: Stage): MockDomain {
    return new MockDomain(this, undefined);
  }

  count(places: 1 | -1): void {
    this.#places += places;
  }

  find(identity: RequesterIdentity): MockDevice | undefined {
    return this.#devices.get(identity);
  }

  /** selftest.c:mock_dev_create */
  makeDevice(unit: IommuUnit, flags: number): SelftestDevice {
    const unknown = (flags & ~KNOWN_FLAGS) >>> 0;
    if (unknown) fail("EINVAL", `unknown flag bits ${hex(unknown)} (known: ${hex(KNOWN_FLAGS)})`);
    const id = this.#ids.take(0, MOST_DEVICES - 1) ?? fail("ENOSPC", `there are ${MOST_DEVICES} mock devices already`);
    const name = `iommufd_mock${id}`;
    const identity: RequesterIdentity = {
      name,
      functionName: name,
      segment: NO_SEGMENT,
      source: id,
      isMediated: false,
      pasid: (flags & MOCK_FLAGS_DEVICE_PASID) !== 0,
      pasidPrivileged: false,
      ats: false,
      pri: false,
    };
    const tracks = unit.dirtyTracking && (flags & MOCK_FLAGS_DEVICE_NO_DIRTY) === 0;
    const own: IommuUnit = { ...unit, dirtyTracking: tracks };
    const device = new MockDevice(identity, { ...own, secondStage: own }, () => {
      this.#devices.delete(identity);
      this.#ids.release(id);
    });
    this.#devices.set(identity, device);
    return device;
  }

  translated(table: UserTable, entry: number): number | undefined {
    return table instanceof MockTable ? table.iotlb[entry] : undefined;
  }
}
