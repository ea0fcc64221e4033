import type { Descriptor } from "../uapi/intel-invalidation.ts";
import type { DmaTarget } from "./dma-target.ts";
import type { IommuDomain, Mappings, Stage } from "./domain.ts";
import type { DmaOwner, Place, Requester, RequesterIdentity } from "./requester.ts";

/** How a first-level table is to be walked. */
export interface FirstLevelTable {
  /** Address of the root table, a multiple of 4096. */
  readonly root: bigint;
  readonly levels: 4 | 5;
  /** Supervisor writes honour R/W (as CR0.WP). */
  readonly writeProtect: boolean;
  /** Bit 63 of an entry means "cannot be executed"; otherwise it is reserved. */
  readonly noExecute: boolean;
  /** Supervisor requests cannot execute user pages. */
  readonly smep: boolean;
  /** Also sets the extended accessed bit, bit 10. */
  readonly extendedAccessed: boolean;
}

/** A first stage over a domain: what a guest says of its page table. */
export interface FirstStage {
  readonly table: FirstLevelTable;
  /** Requests with supervisor privilege are served. */
  readonly supervisor: boolean;
  /** Execute requests are served. */
  readonly execute: boolean;
}

/** A PASID table that a guest keeps in its memory. */
export interface GuestPasidTable {
  /** Guest physical address of the directory. */
  readonly directory: bigint;
  readonly bits: number;
}

/** An IOMMU that takes a guest's invalidations in its own terms, after somebody has looked at them. */
export interface InvalidatedUnit {
  submit(descriptor: Descriptor): string | undefined;
}

/**
 * A domain as the vSVA proposals use it: what is made from one has the same domain-ids, so that an invalidation of one
 * reaches all.
 */
export interface ProposedDomain extends IommuDomain {
  /**
   * A guest's table over this domain's mappings.
   * @param first asked at each attach; may throw EINVAL for what the IOMMU cannot walk
   * @param ids the proposals' are "shared"
   */
  nested(first: () => FirstStage, ids: "own" | "shared"): ProposedDomain;
  /** Other memory under the same domain-ids. */
  beside(mappings: Mappings, stage: Stage): ProposedDomain;
  /**
   * Lets all requests of a device with PASIDs go by a table that the guest keeps itself, over this domain's mappings.
   * EBUSY, ENOSPC.
   */
  attachTable(requester: Requester, table: GuestPasidTable): Place;
  /**
   * What a device's translations are tagged with; undefined where nothing of the domain has been entered in its IOMMU.
   */
  idFor(identity: RequesterIdentity): number | undefined;
  /** Whether anything of it has been entered anywhere. */
  readonly isEntered: boolean;
  /**
   * Forgets everything under its domain-ids: its own translations and those of all domains that share them. Device TLBs
   * are the caller's.
   */
  flushIds(): void;
}

/** IOMMUs as the vSVA proposals use them, which were written for one kind. */
export interface ProposedIommus {
  /** As those of NestingIommus. */
  connect(identity: RequesterIdentity, owner: DmaOwner, plain: DmaTarget): Requester;
  disconnect(requester: Requester): void;
  paging(mappings: Mappings, stage: Stage): ProposedDomain;
  /** The IOMMU that a device is behind. */
  unitOf(identity: RequesterIdentity): InvalidatedUnit;
  /** Whether a PASID is in use in a device's table by somebody else than the requester's owner. */
  isTaken(requester: Requester, pasid: number): boolean;
}
