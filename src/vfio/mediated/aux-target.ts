import { type DmaTarget, NoTarget, type PasidRequest } from "../../iommu/dma-target.ts";

const NO_PASIDS = new NoTarget(
  "nothing translates for a mediated device in its container (the host's `api`, and the container's IOMMU)",
);

/** DMA of a mediated device: its requests always have a PASID of its parent's, its own or another that is bound for it. */
export class AuxTarget implements DmaTarget {
  readonly #name: string;
  readonly #find: () => DmaTarget | undefined;

  /** @param find where the DMA of its group goes now; asked for each access */
  constructor(name: string, find: () => DmaTarget | undefined) {
    this.#name = name;
    this.#find = find;
  }

  read(iova: bigint, into: Uint8Array) {
    return this.withPasid(this.#name, undefined).read(iova, into);
  }

  write(iova: bigint, from: Uint8Array) {
    return this.withPasid(this.#name, undefined).write(iova, from);
  }

  withPasid(requester: string, request: PasidRequest | undefined): DmaTarget {
    return this.#find()?.withPasid?.(requester, request) ?? NO_PASIDS;
  }
}
