import type { AskForPage } from "./dma-target.ts";
import type { Place, Requester } from "./requester.ts";

/** The entry of requests without a PASID, as the kernel counts (IOMMU_NO_PASID). */
export const NO_PASID = 0;

/**
 * A page table as those use it who attach devices to it: type1's proposals and iommufd (struct iommu_domain, iommu_domain_ops). Each kind of IOMMU
 * that knows PASIDs has one in its folder.
 */
export interface IommuDomain {
  /**
   * Enters it for requests of a device with a PASID, or without one (NO_PASID). The owner binds the place to the requester.
   * @param pasid the number in the IOMMU's table
   * @param ask who takes page requests of the device
   * @throws KernelError EBUSY (the entry belongs to somebody else; the reason names both), ENOSPC (no domain-id is free), EINVAL (the IOMMU cannot
   * walk it), and then nothing has changed
   */
  attach(requester: Requester, pasid: number, ask?: AskForPage): Place;
  /**
   * Makes sure that a later attach() of the device cannot fail for want of a domain-id. Returns how to end that.
   * @throws KernelError ENOSPC
   */
  reserve(requester: Requester): () => void;
  /** Forgets all translations that were made through it. */
  flush(): void;
  /**
   * Forgets translations of a range. Both ends in bytes, modulo 2^64.
   * @param isLeaf only last-level entries have changed
   */
  flushRange(start: bigint, last: bigint, isLeaf: boolean): void;
}
