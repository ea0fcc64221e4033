import { PasidPool } from "../../iommu/pasid-pool.ts";
import type { VtdUnits, VtdUse } from "../../iommu/vtd/units.ts";
import type { ApiProfile } from "../../machine/host-description.ts";
import type { Requesters } from "../requesters.ts";

/** What is in use of what all containers of a host share. */
export interface NestingUse extends VtdUse {
  readonly pasids: number;
}

/** What all containers of a host share for nested translation: the IOMMUs, the PASIDs and the devices. */
export class NestingHardware {
  readonly profile: Exclude<ApiProfile, "mainline">;
  readonly units: VtdUnits;
  readonly pasids = new PasidPool();
  readonly requesters: Requesters;

  constructor(profile: Exclude<ApiProfile, "mainline">, units: VtdUnits, requesters: Requesters) {
    this.profile = profile;
    this.units = units;
    this.requesters = requesters;
  }

  /** Guests choose their PASIDs themselves: then a mediated device's are translated, since guests that share its parent may choose the same. */
  get guestsChoosePasids(): boolean {
    return this.profile === "rfc-2017";
  }

  /** For leak checks: after the last container it is what it was before the first. */
  get use(): NestingUse {
    return { ...this.units.use, pasids: this.pasids.size };
  }
}
