import type { MappingListener } from "./mapping-feed.ts";

/** An access of a device that did not reach memory. */
export interface DmaFault {
  /** First byte that was not reached. */
  readonly iova: bigint;
  /** What is wrong there, for the person who looks for it: the nearest mapping, the missing permission. */
  readonly reason: string;
  /** `iova` went through a PASID table: it may be a guest's address, which the mappings do not have. */
  readonly byPasidTable?: true;
  /**
   * Asks for the page (PRI): there when the access was made by a device that waits, and its page requests are on. Once;
   * `answered` may be called before this returns.
   */
  ask?(answered: (granted: boolean) => void): void;
}

/** What a device's accesses to memory go to: whatever translates its I/O virtual addresses now. */
export interface DmaTarget {
  /**
   * The device reads `into.length` bytes at `iova`. What cannot be reached is zeros in `into`, as recorded
   * (dma_unmapped, dma_partial_page_cross).
   * @param waits the device can wait for a page: the access then ends at the first one that it may ask for
   * @returns the first fault; undefined when all bytes were read
   */
  read(iova: bigint, into: Uint8Array, waits?: boolean): DmaFault | undefined;

  /** The device writes. Bytes that cannot be reached are dropped, the others arrive. */
  write(iova: bigint, from: Uint8Array, waits?: boolean): DmaFault | undefined;
}

/**
 * What the requests of one device reach: those without a PASID by read() and write(), those with one by withPasid().
 */
export interface DeviceDma extends DmaTarget {
  /**
   * Tells which ranges lead to memory, those of now and all that come and go. Left out where that is not known
   * beforehand: then each access shows it.
   * @returns ends that
   */
  readonly watchMappings?: ((listener: MappingListener) => () => void) | undefined;
  /** How interrupt messages get to the processor; left out where they are no DMA that an IOMMU translates. */
  readonly messages?: MessagePath | undefined;
  /** Left out where nothing translates PASIDs. */
  withPasid?(request: PasidRequest): DmaTarget;
}

/** The way of a device's interrupt messages through an IOMMU that translates them. */
export interface MessagePath {
  /**
   * The device is to send messages from now on: the kernel maps a doorbell for them.
   * @throws KernelError ENOSPC
   */
  setUp(): void;
  /** It sends one. @returns whether it arrives */
  send(vector: number): boolean;
}

/** How a request with a PASID is made (its PASID TLP prefix, and whether the device translates it itself). */
export interface PasidRequest {
  readonly pasid: number;
  /** With supervisor privilege. */
  readonly privileged: boolean;
  /** Through the device's own TLB (ATS). */
  readonly ats: boolean;
}

/** A page that a device asks for (PRI). */
export interface WantedPage {
  readonly address: bigint;
  readonly write: boolean;
  readonly privileged: boolean;
}

/** Takes a page request; `answered` may be called before it returns. */
export type AskForPage = (page: WantedPage, answered: (granted: boolean) => void) => void;

/** Nothing is reached, for a reason that concerns all addresses and PASIDs. */
export class NoTarget implements DeviceDma {
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

  withPasid(): DmaTarget {
    return this;
  }
}
