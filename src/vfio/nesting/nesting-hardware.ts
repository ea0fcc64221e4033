import type { PasidPool } from "../../iommu/pasid-pool.ts";
import type { ProposedIommus } from "../../iommu/proposed.ts";
import type { Release } from "../../kernel/releases.ts";
import type { ApiProfile } from "../../machine/host-description.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { proposedDialect } from "../../uapi/requests/dialects.ts";
import type { Requesters } from "../requesters.ts";

/** What all containers of a host share for nested translation: the IOMMUs, the PASIDs and the devices. */
export class NestingHardware {
  readonly profile: Exclude<ApiProfile, "mainline">;
  readonly iommus: ProposedIommus;
  readonly pasids: PasidPool;
  readonly requesters: Requesters;

  constructor(
    profile: Exclude<ApiProfile, "mainline">,
    iommus: ProposedIommus,
    pasids: PasidPool,
    requesters: Requesters,
  ) {
    this.profile = profile;
    this.iommus = iommus;
    this.pasids = pasids;
    this.requesters = requesters;
  }

  /** What request numbers mean on its containers. */
  dialect(release: Release, isNesting: boolean): RequestDialect {
    return proposedDialect(this.profile, isNesting, release.has("iommuUapiArgsz"));
  }

  /**
   * Guests choose their PASIDs themselves: then a mediated device's are translated, since guests that share its parent
   * may choose the same.
   */
  get guestsChoosePasids(): boolean {
    return this.profile === "rfc-2017";
  }
}
