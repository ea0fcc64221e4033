import type { AskForPage } from "./dma-target.ts";
import type { Place, Requester, RequesterIdentity } from "./requester.ts";

/** The entry of requests without a PASID, as the kernel counts (IOMMU_NO_PASID). */
export const NO_PASID = 0;

/** A page of mappings. */
export interface MappedPiece {
  /** log2 of the bytes around the address that are mapped alike, as far as the IOMMU has such pages. */
  readonly shift: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * The mappings of an address space, as an IOMMU's tables would have them, and the memory behind them: whole pages of
 * 4 KiB. An address is the number of one and how many bytes are before it in there.
 */
export interface Mappings {
  /** Undefined where nothing is mapped. */
  find(page: number): MappedPiece | undefined;
  /** Reads memory by an address that is mapped. False when it cannot be reached: then `into` is zeros. */
  read(page: number, within: number, into: Uint8Array): boolean;
  write(page: number, within: number, from: Uint8Array): boolean;
}

/** Which of an IOMMU's tables mappings stand for. */
export interface Stage {
  /** The last address that it translates. */
  readonly last: bigint;
  /** Second-stage tables, which others can be nested on; faults are told apart by that. */
  readonly isSecond: boolean;
}

/**
 * A page table as those use it who attach devices to it: containers of the proposals, and iommufd (struct iommu_domain,
 * iommu_domain_ops). Each kind of IOMMU that knows PASIDs has one in its folder. It takes nothing as long as it is
 * attached nowhere.
 */
export interface IommuDomain {
  /**
   * Enters it for requests of a device with a PASID, or without one (NO_PASID). The owner binds the place to the
   * requester.
   * @param pasid the number in the IOMMU's table
   * @param ask who takes page requests of the device
   * @throws KernelError EBUSY (the entry belongs to somebody else; the reason names both), ENOSPC (no domain-id is
   * free), EINVAL (the IOMMU cannot walk it), and then nothing has changed
   */
  attach(requester: Requester, pasid: number, ask?: AskForPage): Place;
  /**
   * Makes sure that a later attach() of the device cannot fail for want of something, as of a domain-id. Returns how to
   * end that.
   * @throws KernelError ENOSPC, ENOMEM
   */
  reserve(requester: Requester, pasid: number): () => void;
  /** Forgets all translations that were made through it. */
  flush(): void;
  /**
   * Forgets translations of a range. Both ends in bytes, modulo 2^64.
   * @param isLeaf only last-level entries have changed
   */
  flushRange(start: bigint, last: bigint, isLeaf: boolean): void;
}

/** An attach that is to be made. */
export interface IntendedAttach {
  readonly devices: readonly RequesterIdentity[];
  /** NO_PASID for requests without one. */
  readonly pasid: number;
}

/**
 * A guest's page table, as its owner has described it in a structure of the IOMMU's (iommu_ops.domain_alloc_nested).
 */
export interface UserTable {
  /**
   * EINVAL for a table that the IOMMU cannot walk, ENOENT for a device that a virtual IOMMU does not know; only an
   * attach looks at that.
   */
  check(attach: IntendedAttach): void;
  nestedOn(parent: IommuDomain): IommuDomain;
}

/**
 * What a guest wants forgotten of its page table, in a structure of the IOMMU's
 * (iommu_domain_ops.cache_invalidate_user).
 */
export interface UserInvalidation {
  /**
   * @param domain undefined for a table that never was attached: only the structure is checked
   * @param what the structure, for reasons: "entry 3"
   * @param table whose domain it is
   * @throws KernelError EINVAL, EOPNOTSUPP
   */
  apply(domain: IommuDomain | undefined, what: string, table: UserTable): void;
}

/** A structure that user space hands in for a kind of IOMMU. */
export interface UserFormat<T> {
  /** The number that says which structure it is. */
  readonly type: number;
  /** "struct iommu_hwpt_vtd_s1", without the "struct". */
  readonly name: string;
  readonly size: number;
  /** Bytes of its first version; absent where it has one size so far. */
  readonly minimum?: number;
  decode(bytes: Uint8Array, littleEndian: boolean): T;
}
