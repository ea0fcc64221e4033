import type { DeviceDma, DmaFault, DmaTarget, PasidRequest } from "./dma-target.ts";

/**
 * Who has devices and decides what they reach: a container or an iommufd. It is told from others as an object; the
 * label is for messages.
 */
export interface DmaOwner {
  /** "the container of group 11 (process vm, pid 4711)" */
  readonly label: string;
}

/** Bits of a PASID, wherever there are any. */
export const PASID_BITS = 20;

/** A device as the IOMMU can tell it from others. One object for each device of a host, as long as the host runs. */
export interface RequesterIdentity {
  /** As VFIO names it. */
  readonly name: string;
  /** The PCI function whose requests the IOMMU sees: the device itself, or the parent of a mediated device. */
  readonly functionName: string;
  /** PCI segment. Equal source-ids in different segments have nothing in common: each segment has IOMMUs of its own. */
  readonly segment: number;
  /** Bus, device and function. A mediated device and its parent share it. */
  readonly source: number;
  /** A mediated device that the IOMMU tells from its parent by PASID (aux domain). */
  readonly isMediated: boolean;
  /** Its requests can have PASIDs of 20 bits. */
  readonly pasid: boolean;
  /** These may be made with supervisor privilege. */
  readonly pasidPrivileged: boolean;
  /** It has a TLB of its own, and ATS is on. */
  readonly ats: boolean;
  /** Its page requests are on. */
  readonly pri: boolean;
  /** Its requests reach the IOMMU under another source-id too, that of a bridge to conventional PCI; absent: not so. */
  readonly hasAlias?: true;
}

/** One entry in an IOMMU's tables that was made for one requester. Whoever made it undoes it by this object. */
export interface Place {
  readonly requester: Requester;
  /** Where a request through it goes. */
  reach(request: PasidRequest): DmaTarget;
  /**
   * The device writes an interrupt message to where the kernel has mapped a doorbell. Absent where every message
   * arrives.
   * @returns whether it arrives there; if not, it went where the tables led it
   */
  sendMessage?(doorbell: bigint, message: Uint8Array): boolean;
  /** Takes it back, with what is cached of it. Cannot fail; a second time does nothing. */
  leave(): void;
}

/**
 * A device as its owner has it: made when the device is attached to the owner, dropped when it is detached. All DMA of
 * the device goes through it.
 *
 * This is the one rule about PASIDs, for every API: **a request with a PASID is translated only by a binding that its
 * own owner made for this requester.** What else the tables of the IOMMU hold for the same source-id, and what is bound
 * in the owner for other devices, does not count.
 */
export class Requester implements DeviceDma {
  readonly identity: RequesterIdentity;
  readonly owner: DmaOwner;
  /** Where requests without a PASID go. */
  plain: DmaTarget;
  readonly #refuse: (request: PasidRequest) => DmaTarget;
  /** By the PASID that the device's requests carry. */
  readonly #bindings = new Map<number, Place>();
  #whole: Place | undefined;

  /** @param refuse where a request goes that no binding is for: to a fault */
  constructor(
    identity: RequesterIdentity,
    owner: DmaOwner,
    plain: DmaTarget,
    refuse: (request: PasidRequest) => DmaTarget,
  ) {
    this.identity = identity;
    this.owner = owner;
    this.plain = plain;
    this.#refuse = refuse;
  }

  /**
   * Requests with `pasid` go through `place` from now on. The number is the device's: that of the entry in the IOMMU's
   * table may be another one. The PASID must be free.
   */
  bind(pasid: number, place: Place): void {
    if (place.requester !== this) throw new Error(`a binding of ${place.requester.identity.name} is not for others`);
    if (this.#bindings.has(pasid)) throw new Error(`PASID ${pasid} of ${this.identity.name} is bound already`);
    this.#bindings.set(pasid, place);
  }

  /** Takes exactly that binding back; nothing when the PASID is bound to another place by now. */
  unbind(pasid: number, place: Place): void {
    if (this.#bindings.get(pasid) === place) this.#bindings.delete(pasid);
  }

  /** All requests with PASIDs go by a table that the owner keeps itself (undefined: no longer). */
  set wholeTable(place: Place | undefined) {
    if (place && place.requester !== this)
      throw new Error(`the table of ${place.requester.identity.name} is not for others`);
    this.#whole = place;
  }

  read(iova: bigint, into: Uint8Array, waits?: boolean): DmaFault | undefined {
    return this.plain.read(iova, into, waits);
  }

  write(iova: bigint, from: Uint8Array, waits?: boolean): DmaFault | undefined {
    return this.plain.write(iova, from, waits);
  }

  get watchMappings(): DeviceDma["watchMappings"] {
    const plain: DeviceDma = this.plain;
    return plain.watchMappings && ((listener) => plain.watchMappings!(listener));
  }

  withPasid(request: PasidRequest): DmaTarget {
    const place = this.#whole ?? this.#bindings.get(request.pasid);
    return place ? place.reach(request) : this.#refuse(request);
  }
}
