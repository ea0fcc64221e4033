import type { FirstLevelTable } from "../../iommu/vtd/first-level.ts";
import { fail } from "../../kernel/errors.ts";
import { IOMMU_VTD_S1_EAFE, IOMMU_VTD_S1_SRE, IOMMU_VTD_S1_WPE } from "../../uapi/iommufd-hwpt.ts";

const LEVELS: Readonly<Record<number, 4 | 5>> = { 48: 4, 57: 5 };
const PAGE_MASK = ~0xfffn;

/** A guest's first-stage table as struct iommu_hwpt_vtd_s1 describes it. Flags that are unknown mean nothing, as in the kernel. */
export class VtdS1 {
  readonly #root: bigint;
  readonly #addressWidth: number;
  readonly #flags: bigint;

  /**
   * @param root the table's address in the parent's address space; its low 12 bits are not looked at (pasid.h:pasid_set_flptr)
   * @param flags IOMMU_VTD_S1_*
   */
  constructor(root: bigint, addressWidth: number, flags: bigint) {
    this.#root = root & PAGE_MASK;
    this.#addressWidth = addressWidth;
    this.#flags = flags;
  }

  /** Requests with supervisor privilege are served. */
  get supervisor(): boolean {
    return this.#has(IOMMU_VTD_S1_SRE);
  }

  /** What a PASID table entry will say (pasid.c:pasid_pte_config_nested). EINVAL (pasid.c:intel_pasid_setup_nested). */
  table(): FirstLevelTable {
    const levels =
      LEVELS[this.#addressWidth] ??
      fail("EINVAL", `addr_width is ${this.#addressWidth}; tables have 48 bits (4 levels) or 57 (5 levels)`);
    return {
      root: this.#root,
      levels,
      writeProtect: this.supervisor && this.#has(IOMMU_VTD_S1_WPE),
      // the driver leaves NXE alone: guests' tables have execute-disable bits all the same
      noExecute: true,
      smep: false,
      extendedAccessed: this.#has(IOMMU_VTD_S1_EAFE),
    };
  }

  #has(flag: number): boolean {
    return (this.#flags & BigInt(flag)) !== 0n;
  }
}
