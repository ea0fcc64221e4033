import type { DmaTarget } from "./dma-target.ts";
import type { IommuDomain, Mappings, Stage, UserFormat, UserInvalidation, UserTable } from "./domain.ts";
import type { ProposedIommus } from "./proposed.ts";
import type { DmaOwner, Requester, RequesterIdentity } from "./requester.ts";
import type { SelftestIommus } from "./selftest.ts";

/** What is in use in the IOMMUs of a host: all of it is back at 0 when everything is detached. */
export interface NestingUse {
  /** Devices that are attached to an owner. */
  readonly requesters: number;
  readonly domains: number;
  /** PASID table entries. */
  readonly entries: number;
  /** Pages of host memory that tables lie in. */
  readonly tablePages: number;
  readonly secondLevels: number;
}

/** The IOMMUs of a host that know PASIDs and nest, all of one kind (iommu_ops). */
export interface NestingIommus {
  /**
   * A device is attached to an owner.
   * @param plain where its requests without a PASID go
   */
  connect(identity: RequesterIdentity, owner: DmaOwner, plain: DmaTarget): Requester;
  /** It is detached: all its places have been left. */
  disconnect(requester: Requester): void;
  /** A page table over mappings. */
  paging(mappings: Mappings, stage: Stage): IommuDomain;
  /** Guests' tables and their invalidations without a virtual IOMMU; absent where there are none. */
  readonly tables?: UserFormat<UserTable>;
  readonly invalidations?: UserFormat<UserInvalidation>;
  readonly use: NestingUse;
  /** The same as the vSVA proposals use them; undefined where the proposals do not know the kind. */
  readonly proposed: ProposedIommus | undefined;
  /** The same as the kernel's tests of iommufd use them; absent but in IOMMUs that were made for those. */
  readonly selftest?: SelftestIommus;
}
