import { fail } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_DATA_VTD_S1,
  IOMMU_VTD_S1_EAFE,
  IOMMU_VTD_S1_SRE,
  IOMMU_VTD_S1_WPE,
  IommuHwptVtdS1,
} from "../../uapi/iommufd-hwpt.ts";
import type { IommuDomain, UserFormat, UserTable } from "../domain.ts";
import type { FirstStage } from "../proposed.ts";
import { VtdDomain } from "./domain.ts";

const LEVELS: Readonly<Record<number, 4 | 5>> = { 48: 4, 57: 5 };
const PAGE_MASK = ~0xfffn;

/**
 * A guest's first-stage table as struct iommu_hwpt_vtd_s1 describes it. Flags that are unknown mean nothing, as in the
 * kernel.
 */
class VtdUserTable implements UserTable {
  readonly #root: bigint;
  readonly #addressWidth: number;
  readonly #flags: bigint;

  /**
   * @param root the table's address in the parent's address space; its low 12 bits are not looked at
   * (pasid.h:pasid_set_flptr)
   * @param flags IOMMU_VTD_S1_*
   */
  constructor(root: bigint, addressWidth: number, flags: bigint) {
    this.#root = root & PAGE_MASK;
    this.#addressWidth = addressWidth;
    this.#flags = flags;
  }

  /** pasid.c:intel_pasid_setup_nested */
  check(): void {
    this.#levels();
  }

  nestedOn(parent: IommuDomain): IommuDomain {
    if (!(parent instanceof VtdDomain)) throw new Error("a table of VT-d's is nested on VT-d's domains");
    return parent.nested(() => this.#firstStage(), "own");
  }

  /** What a PASID table entry will say (pasid.c:pasid_pte_config_nested). */
  #firstStage(): FirstStage {
    const supervisor = this.#has(IOMMU_VTD_S1_SRE);
    const table = {
      root: this.#root,
      levels: this.#levels(),
      writeProtect: supervisor && this.#has(IOMMU_VTD_S1_WPE),
      // the driver leaves NXE alone: guests' tables have execute-disable bits all the same
      noExecute: true,
      smep: false,
      extendedAccessed: this.#has(IOMMU_VTD_S1_EAFE),
    };
    return { table, supervisor, execute: false };
  }

  #levels(): 4 | 5 {
    return (
      LEVELS[this.#addressWidth] ??
      fail("EINVAL", `addr_width is ${this.#addressWidth}; tables have 48 bits (4 levels) or 57 (5 levels)`)
    );
  }

  #has(flag: number): boolean {
    return (this.#flags & BigInt(flag)) !== 0n;
  }
}

/** intel/nested.c:intel_iommu_domain_alloc_nested */
export const VTD_TABLES: UserFormat<UserTable> = {
  type: IOMMU_HWPT_DATA_VTD_S1,
  name: IommuHwptVtdS1.name,
  size: IommuHwptVtdS1.size,
  decode: (bytes) => {
    const { pgtbl_addr: root, addr_width: width, flags } = IommuHwptVtdS1.decode(bytes);
    return new VtdUserTable(root, width, flags);
  },
};
