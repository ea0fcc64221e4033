import {
  type DeviceDma,
  type DmaFault,
  type DmaTarget,
  type MessagePath,
  NoTarget,
  type PasidRequest,
} from "./dma-target.ts";
import type { MappedRange, MappingListener } from "./mapping-feed.ts";

const UNATTACHED = new NoTarget("the device's group is in no container with an IOMMU");
const NO_PASIDS = new NoTarget(
  "nothing translates PASIDs in its container (the host's `api`, and the container's IOMMU)",
);

/** All that a listener can be told where nobody knows more; each access is checked all the same. */
const EVERYTHING: MappedRange = {
  iova: 0n,
  size: 2n ** 43n,
  read: true,
  write: true,
  handOver: () => undefined,
};

/**
 * The device's side of whatever translates for it. What it leads to is resolved when the device's group is attached to
 * an owner, and dropped when the group is detached; no access looks anything up.
 */
export class DevicePort implements DeviceDma {
  #reach: DeviceDma | undefined;
  /** Undefined where messages are no DMA that the IOMMU translates. */
  messages: MessagePath | undefined;
  readonly #listeners = new Map<MappingListener, (() => void) | undefined>();

  /** From now on accesses go there; undefined: nowhere. */
  connect(reach: DeviceDma | undefined): void {
    this.#reach = reach;
    for (const [listener, stop] of this.#listeners) {
      stop?.();
      listener.cleared();
      this.#tell(listener);
    }
  }

  watchMappings(listener: MappingListener): () => void {
    this.#tell(listener);
    return () => {
      this.#listeners.get(listener)?.();
      this.#listeners.delete(listener);
    };
  }

  #tell(listener: MappingListener): void {
    const reach = this.#reach;
    this.#listeners.set(listener, undefined);
    if (reach?.watchMappings) this.#listeners.set(listener, reach.watchMappings(listener));
    // what is reached shows at each access only
    else if (reach) listener.mapped(EVERYTHING);
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
