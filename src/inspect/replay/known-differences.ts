import { Release } from "../../kernel/releases.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { VfioIommuType1DmaMap } from "../../uapi/vfio-type1.ts";
import { isCorruption } from "../../vfio/spapr/defects.ts";
import type { Difference } from "./compare.ts";
import { isBytesIoctl, type Operation } from "./operation.ts";
import { fromHex } from "./outcome.ts";

/**
 * Where the model gives another answer than a recorded kernel on purpose (docs/kernel-defects.md). Each rule looks at the
 * recorded calls as they go by and says from then on why an answer may differ.
 */
interface Rule {
  /**
   * Whether the difference in this operation is this rule's. Called for every operation, without a difference too.
   * @param said what the model said while it made the call: its warnings and its reason
   */
  explains(operation: Operation, difference: Difference | undefined, said: readonly string[]): boolean;
  readonly reason: string;
}

/** The reasons for intended differences in one recording. */
export class KnownDifferences {
  readonly #rules: readonly Rule[];

  /** @param littleEndian the byte order of the recorded structures */
  constructor(host: HostDescription, littleEndian: boolean) {
    const rules: Rule[] = [];
    if (!new Release(host.kernel).has("lastByteUsable")) rules.push(lastByteRule(littleEndian));
    if (host.arch === "arm64") rules.push(partialCopyRule());
    if (host.vfioContainer === "spapr") rules.push(pastWindowRule());
    this.#rules = rules;
  }

  /** The reason why this operation differs, or undefined for one that should not. To be called for all operations in order. */
  explain(operation: Operation, difference: Difference | undefined, said: readonly string[]): string | undefined {
    let reason: string | undefined;
    for (const rule of this.#rules)
      if (rule.explains(operation, difference, said) && difference) reason ??= rule.reason;
    return reason;
  }
}

/** Before 6.18 a mapping up to 2^64-1 corrupts the kernel's tree: what is found afterwards depends on the tree's shape. */
function lastByteRule(littleEndian: boolean): Rule {
  let seen = false;
  return {
    reason:
      "a mapping that ends at 2^64-1 breaks the search in kernels before 6.18 (ef270ec4c5d1); the model stays sane",
    explains(operation) {
      if (!seen && isBytesIoctl(operation) && operation.req === "VFIO_IOMMU_MAP_DMA" && operation.ret === 0) {
        const bytes = fromHex(operation.in);
        if (bytes.length < VfioIommuType1DmaMap.size) return seen;
        const map = VfioIommuType1DmaMap.decode(bytes, littleEndian);
        seen = map.iova + map.size === 2n ** 64n;
      }
      return seen;
    },
  };
}

/** arm64 copies by words: how much of a word is written before an unwritable page is the copy routine's affair. */
function partialCopyRule(): Rule {
  let faulted = false;
  return {
    reason:
      "how many bytes of a word arm64 writes before an unwritable page is its copy routine's affair; the model writes all of them",
    explains(operation) {
      if (operation.op === "ioctl") faulted = operation.errno === "EFAULT";
      return faulted && operation.op === "dump";
    },
  };
}

/**
 * On bare metal a request that runs past the end of its window goes on in the memory behind the kernel's table: MAP_DMA says 0, and
 * mappings are lost that way, so that regions stay registered. The model refuses the one, and cuts an UNMAP_DMA off.
 */
function pastWindowRule(): Rule {
  let seen = false;
  return {
    reason:
      "a request that runs past its window's end corrupts memory in a bare-metal kernel; the model refuses a MAP_DMA and cuts off an UNMAP_DMA",
    explains(_operation, difference, said) {
      const now = said.some(isCorruption);
      seen ||= now;
      return difference?.field === "vmlck_kB" ? seen : now;
    },
  };
}
