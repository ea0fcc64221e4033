import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail } from "../../kernel/errors.ts";

/** PASIDs are 20 bits; 0 is what requests without a PASID count as (RID_PASID). */
export const PASID_MIN = 1;
export const PASID_MAX = 2 ** 20 - 1;

/** Who holds a PASID. */
interface Holder {
  /** The process that it is charged to; undefined for the host's own (aux domains). */
  readonly space: AddressSpace | undefined;
  /** The container that it was allocated through: it goes with it. */
  readonly container: object;
}

/** The PASIDs of the whole host (the kernel's ioasid allocator). */
export class PasidPool {
  readonly #holders = new Map<number, Holder>();

  get size(): number {
    return this.#holders.size;
  }

  /**
   * The lowest free PASID of a range. ENOSPC when there is none, or when the process has its quota.
   * @param quota how many the process may have
   */
  allocate(container: object, space: AddressSpace | undefined, min: number, max: number, quota: number): number {
    if (space !== undefined) {
      const held = [...this.#holders.values()].filter((holder) => holder.space === space).length;
      if (held >= quota) {
        fail(
          "ENOSPC",
          `the process has ${held} PASIDs, its quota (vfio_iommu_type1.pasid_quota is ${quota}); free some first`,
        );
      }
    }
    for (let pasid = Math.max(min, PASID_MIN); pasid <= Math.min(max, PASID_MAX); pasid++) {
      if (this.#holders.has(pasid)) continue;
      this.#holders.set(pasid, { space, container });
      return pasid;
    }
    fail("ENOSPC", `no PASID of ${min}-${max} is free (PASIDs are ${PASID_MIN}-${PASID_MAX})`);
  }

  isHeldBy(pasid: number, space: AddressSpace): boolean {
    return this.#holders.get(pasid)?.space === space;
  }

  /** Whether the host uses it for itself. */
  isHostOwned(pasid: number): boolean {
    const holder = this.#holders.get(pasid);
    return holder !== undefined && holder.space === undefined;
  }

  /** The PASIDs of a process in a range, both ends included. */
  heldIn(space: AddressSpace, min: number, max: number): number[] {
    return [...this.#holders].filter(([pasid, h]) => h.space === space && pasid >= min && pasid <= max).map(([p]) => p);
  }

  /** Those that a container was asked for. */
  of(container: object): number[] {
    return [...this.#holders].filter(([, holder]) => holder.container === container).map(([pasid]) => pasid);
  }

  free(pasid: number): void {
    this.#holders.delete(pasid);
  }
}
