import type { FirstLevelTable, FirstStage } from "../../iommu/proposed.ts";
import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_SVA_VTD_GPASID_EAFE,
  IOMMU_SVA_VTD_GPASID_SRE,
  IOMMU_SVA_VTD_GPASID_WPE,
} from "../../uapi/iommu-v510.ts";

/** The bits that a guest may ask for. */
export const TABLE_FLAGS = BigInt(IOMMU_SVA_VTD_GPASID_SRE | IOMMU_SVA_VTD_GPASID_EAFE | IOMMU_SVA_VTD_GPASID_WPE);

/** Bits of address, by the levels of the table. */
export const TABLE_WIDTHS = [48, 57] as const;

/**
 * What a guest's description of its table means to the IOMMU. EINVAL for an address width that there is not, a
 * misaligned root, or flags that the IOMMU does not have (memory types: PCD, PWT, EMTE, CD).
 * @param flags IOMMU_SVA_VTD_GPASID_*
 */
export function guestTable(root: bigint, addressWidth: number, flags: bigint): FirstStage {
  if (!TABLE_WIDTHS.some((width) => width === addressWidth)) {
    fail("EINVAL", `addr_width is ${addressWidth}; tables have 48 bits (4 levels) or 57 (5 levels)`);
  }
  if (root & 0xfffn) fail("EINVAL", `the page table's address ${hex(root)} is not a multiple of 0x1000`);
  if (flags & ~TABLE_FLAGS) {
    fail(
      "EINVAL",
      `VT-d flags ${hex(flags & ~TABLE_FLAGS)} are not supported here (known: SRE, EAFE, WPE, together ${hex(TABLE_FLAGS)})`,
    );
  }
  const has = (flag: number) => (flags & BigInt(flag)) !== 0n;
  const table: FirstLevelTable = {
    root,
    levels: addressWidth === 57 ? 5 : 4,
    writeProtect: has(IOMMU_SVA_VTD_GPASID_WPE),
    noExecute: true,
    smep: false,
    extendedAccessed: has(IOMMU_SVA_VTD_GPASID_EAFE),
  };
  return { table, supervisor: has(IOMMU_SVA_VTD_GPASID_SRE), execute: true };
}
