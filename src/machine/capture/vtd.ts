import { VTD_DIRTY_ECAP } from "../dirty-tracking.ts";
import type { SourceTree } from "./source-tree.ts";

/** What a VT-d unit's registers say about the domains that Linux makes on it. */
export interface VtdFacts {
  readonly addressBits: number;
  readonly pageSizes: bigint;
  readonly cacheCoherent: boolean;
  readonly interruptRemapping: boolean;
  /** It can use the CPU's table format (first stage), which Linux does when scalable mode is on. */
  readonly firstStage: boolean;
  /** In scalable mode it nests first-stage tables on second-stage ones, and knows PASIDs. */
  readonly nesting: boolean;
  /** In scalable mode its second-stage tables have dirty bits. */
  readonly dirtyTracking: boolean;
}

const bit = (register: bigint, index: bigint) => ((register >> index) & 1n) === 1n;

/**
 * Reads CAP_REG and ECAP_REG as intel-iommu shows them (Intel Virtualization Technology for Directed I/O, chapters "Capability Register"
 * and "Extended Capability Register"): MGAW in CAP 21:16 is the width less one, SAGAW in CAP 12:8 has bits 1, 2, 3 for tables of 39, 48
 * and 57 bits, SLLPS in CAP 37:34 has bit 34 for 2 MiB and 35 for 1 GiB; ECAP bit 7 is snoop control, 3 interrupt remapping, 43 scalable
 * mode, 47 and 46 first-stage and second-stage translation, 26 nesting, 40 PASIDs. A domain is as wide as the deepest tables, but not wider than MGAW (drivers/iommu/intel/iommu.c).
 */
export function vtdFacts(tree: SourceTree, unit: string): VtdFacts | undefined {
  const cap = register(tree, `sys/class/iommu/${unit}/intel-iommu/cap`);
  const ecap = register(tree, `sys/class/iommu/${unit}/intel-iommu/ecap`);
  if (cap === undefined || ecap === undefined) return undefined;
  const tables = bit(cap, 11n) ? 57 : bit(cap, 10n) ? 48 : 39;
  const width = Number((cap >> 16n) & 0x3fn) + 1;
  return {
    addressBits: Math.min(tables, width),
    pageSizes: 0x1000n | (bit(cap, 34n) ? 0x20_0000n : 0n) | (bit(cap, 35n) ? 0x4000_0000n : 0n),
    cacheCoherent: bit(ecap, 7n),
    interruptRemapping: bit(ecap, 3n),
    firstStage: bit(ecap, 43n) && bit(ecap, 47n),
    dirtyTracking: (ecap & VTD_DIRTY_ECAP) === VTD_DIRTY_ECAP,
    nesting: bit(ecap, 26n) && bit(ecap, 40n) && bit(ecap, 46n),
  };
}

/** Hex without 0x, up to a colon where a file has two. */
export function register(tree: SourceTree, path: string): bigint | undefined {
  const text = tree.text(path)?.trim().split(":")[0];
  return text !== undefined && /^[0-9a-f]+$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}
