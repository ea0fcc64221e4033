import { IdSet } from "../../iommu/id-set.ts";
import type { SelftestIommus } from "../../iommu/selftest.ts";
import type { IommuUnit } from "../../iommu/unit.ts";

/** Groups of mock devices at one time. */
const MOST_GROUPS = 65536;

/** What the kernel's tests of iommufd need of a host (CONFIG_IOMMUFD_TEST). */
export class SelftestGround {
  readonly iommus: SelftestIommus;
  readonly unit: IommuUnit;
  /** Bytes that the core may take for its lists; nothing here depends on it (iommufd_test_memory_limit). */
  memoryLimit = 65536;
  readonly #firstGroup: number;
  readonly #groups = new IdSet(MOST_GROUPS);

  /** @param firstGroup a number that is above those of all groups that the host has */
  constructor(iommus: SelftestIommus, unit: IommuUnit, firstGroup: number) {
    this.iommus = iommus;
    this.unit = unit;
    this.#firstGroup = firstGroup;
  }

  /** A number for a group of a mock device's own; undefined when there are too many. */
  takeGroup(): number | undefined {
    const index = this.#groups.take(0, MOST_GROUPS - 1);
    return index === undefined ? undefined : this.#firstGroup + index;
  }

  giveGroup(id: number): void {
    this.#groups.release(id - this.#firstGroup);
  }
}
