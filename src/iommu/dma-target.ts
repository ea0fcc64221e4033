/** An access of a device that did not reach memory. */
export interface DmaFault {
  /** First byte that was not reached. */
  readonly iova: bigint;
  /** What is wrong there, for the person who looks for it: the nearest mapping, the missing permission. */
  readonly reason: string;
}

/** What a device's accesses to memory go to: whatever translates its I/O virtual addresses now. */
export interface DmaTarget {
  /**
   * The device reads `into.length` bytes at `iova`. What cannot be reached is zeros in `into`, as recorded (dma_unmapped,
   * dma_partial_page_cross).
   * @returns the first fault; undefined when all bytes were read
   */
  read(iova: bigint, into: Uint8Array): DmaFault | undefined;

  /** The device writes. Bytes that cannot be reached are dropped, the others arrive. */
  write(iova: bigint, from: Uint8Array): DmaFault | undefined;

  /**
   * What a device reaches with a PASID, or with the one that it has for itself when `request` is undefined (a mediated device in an aux
   * domain). Left out where nothing translates PASIDs.
   * @param requester the device by name
   */
  withPasid?(requester: string, request: PasidRequest | undefined): DmaTarget;
}

/** How a request with a PASID is made (its PASID TLP prefix, and whether the device translates it itself). */
export interface PasidRequest {
  readonly pasid: number;
  /** With supervisor privilege. */
  readonly privileged: boolean;
  /** Through the device's own TLB (ATS). */
  readonly ats: boolean;
}

/** Nothing is reached, for a reason that concerns all addresses. */
export class NoTarget implements DmaTarget {
  readonly #reason: string;

  constructor(reason: string) {
    this.#reason = reason;
  }

  read(iova: bigint, into: Uint8Array): DmaFault {
    into.fill(0);
    return { iova, reason: this.#reason };
  }

  write(iova: bigint): DmaFault {
    return { iova, reason: this.#reason };
  }
}
