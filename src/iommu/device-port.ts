import { type DeviceDma, type DmaFault, type DmaTarget, NoTarget, type PasidRequest } from "./dma-target.ts";

const UNATTACHED = new NoTarget("the device's group is in no container with an IOMMU");
const NO_PASIDS = new NoTarget(
  "nothing translates PASIDs in its container (the host's `api`, and the container's IOMMU)",
);

/**
 * The device's side of whatever translates for it. What it leads to is resolved when the device's group is attached to
 * an owner, and dropped when the group is detached; no access looks anything up.
 */
export class DevicePort implements DeviceDma {
  #reach: DeviceDma | undefined;

  /** From now on accesses go there; undefined: nowhere. */
  connect(reach: DeviceDma | undefined): void {
    this.#reach = reach;
  }

  read(iova: bigint, into: Uint8Array, waits?: boolean): DmaFault | undefined {
    return this.#target().read(iova, into, waits);
  }

  write(iova: bigint, from: Uint8Array, waits?: boolean): DmaFault | undefined {
    return this.#target().write(iova, from, waits);
  }

  withPasid(request: PasidRequest): DmaTarget {
    return this.#target().withPasid?.(request) ?? NO_PASIDS;
  }

  #target(): DeviceDma {
    return this.#reach ?? UNATTACHED;
  }
}
