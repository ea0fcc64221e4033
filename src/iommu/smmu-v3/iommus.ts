import { type DmaTarget, NoTarget } from "../dma-target.ts";
import type { IommuDomain, Mappings, Stage } from "../domain.ts";
import type { NestingIommus, NestingUse } from "../nesting-iommus.ts";
import { type DmaOwner, type Place, Requester, type RequesterIdentity } from "../requester.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";
import { type PlaceCount, SmmuDomain } from "./domain.ts";
import { NestedPlace } from "./nested-place.ts";
import type { SmmuFeatures } from "./registers.ts";
import type { StreamEntry } from "./stream-entry.ts";

const UNBOUND = new NoTarget("no context descriptor is for this PASID: the device is attached to nothing with it");

/** The SMMUv3s of a host that have both stages. What tells them apart is that no page table is of two of them. */
export class SmmuIommus implements NestingIommus, PlaceCount {
  readonly features: SmmuFeatures;
  readonly proposed = undefined;
  /** Streams that a guest's entry is installed for. */
  readonly #nested = new Map<RequesterIdentity, NestedPlace>();
  #requesters = 0;
  #places = 0;

  constructor(features: SmmuFeatures) {
    this.features = features;
  }

  get use(): NestingUse {
    return { requesters: this.#requesters, domains: 0, entries: this.#places, tablePages: 0, secondLevels: 0 };
  }

  connect(identity: RequesterIdentity, owner: DmaOwner, plain: DmaTarget): Requester {
    this.#requesters++;
    return new Requester(identity, owner, plain, () => UNBOUND);
  }

  disconnect(): void {
    this.#requesters--;
  }

  paging(mappings: Mappings, stage: Stage): SmmuDomain {
    return new SmmuDomain(this, mappings, stage);
  }

  count(places: 1 | -1): void {
    this.#places += places;
  }

  /** The stream of a device, while a guest's entry is installed for it. */
  nestedPlace(identity: RequesterIdentity): NestedPlace | undefined {
    return this.#nested.get(identity);
  }

  /**
   * Installs a guest's stream table entry for a device (arm-smmu-v3-iommufd.c:arm_smmu_attach_dev_nested). What the
   * SMMU remembers of the stream's context descriptors is dropped with the entry before it.
   */
  install(requester: Requester, parent: SmmuDomain, entry: StreamEntry, ground: VirtualIommuGround): NestedPlace {
    const { identity } = requester;
    const end = parent.hold();
    this.count(1);
    const streamId = ground.numberOf(identity);
    const place = new NestedPlace(requester, parent, entry, { features: this.features, ground, streamId }, () => {
      if (this.#nested.get(identity) === place) this.#nested.delete(identity);
      requester.wholeTable = undefined;
      this.count(-1);
      end();
    });
    this.#nested.set(identity, place);
    // with substreams the guest's descriptors decide about requests with PASIDs too
    requester.wholeTable = place;
    return place;
  }
}

/** A guest's stream table entry over a parent (struct arm_smmu_nested_domain). */
export class NestedDomain implements IommuDomain {
  readonly #iommus: SmmuIommus;
  readonly #parent: SmmuDomain;
  readonly #entry: StreamEntry;
  readonly #ground: VirtualIommuGround;

  constructor(iommus: SmmuIommus, parent: SmmuDomain, entry: StreamEntry, ground: VirtualIommuGround) {
    this.#iommus = iommus;
    this.#parent = parent;
    this.#entry = entry;
    this.#ground = ground;
  }

  attach(requester: Requester): Place {
    return this.#iommus.install(requester, this.#parent, this.#entry, this.#ground);
  }

  reserve(): () => void {
    return this.#parent.hold();
  }

  /** What is remembered is the parent's, which is told itself. */
  flush(): void {}

  flushRange(): void {}
}
