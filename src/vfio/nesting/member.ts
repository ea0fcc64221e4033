import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { ProposedDomain } from "../../iommu/proposed.ts";
import type { DmaOwner, Place, Requester } from "../../iommu/requester.ts";
import type { NestingHardware } from "./nesting-hardware.ts";

/** The PASID of a mediated device's aux domain, which its requests without one use. */
interface Aux {
  readonly pasid: number;
  readonly place: Place;
}

/**
 * A group as a container has it: its devices as requesters of the container, each with what it needs to reach the
 * container's memory.
 */
export class Member {
  readonly group: DmaGroup;
  /** In the order of the group's devices. */
  readonly requesters: readonly Requester[];
  /** Devices that no IOMMU sees. */
  readonly unseen: readonly string[];
  readonly #hardware: NestingHardware;
  readonly #aux = new Map<Requester, Aux>();

  private constructor(
    hardware: NestingHardware,
    group: DmaGroup,
    requesters: readonly Requester[],
    unseen: readonly string[],
  ) {
    this.#hardware = hardware;
    this.group = group;
    this.requesters = requesters;
    this.unseen = unseen;
  }

  /**
   * Takes the devices of a group for a container. ENOSPC, EBUSY for an aux domain, and then nothing has changed.
   * @param auxDomain what mediated devices' requests without a PASID go through
   */
  static join(
    hardware: NestingHardware,
    owner: DmaOwner,
    group: DmaGroup,
    plain: Requester["plain"],
    auxDomain: ProposedDomain,
  ) {
    const names = group.iommuGroup.deviceNames;
    const identities = names.map((name) => hardware.requesters.find(name));
    const requesters = identities
      .filter((identity) => identity !== undefined)
      .map((identity) => hardware.iommus.connect(identity, owner, plain));
    const unseen = names.filter((_name, i) => identities[i] === undefined);
    const member = new Member(hardware, group, requesters, unseen);
    try {
      for (const requester of requesters) if (requester.identity.isMediated) member.#giveAux(requester, auxDomain);
    } catch (error) {
      member.leave();
      throw error;
    }
    return member;
  }

  find(name: string): Requester | undefined {
    return this.requesters.find(({ identity }) => identity.name === name);
  }

  auxOf(requester: Requester): number | undefined {
    return this.#aux.get(requester)?.pasid;
  }

  /** Undoes join(). What was bound for the devices has been unbound. */
  leave(): void {
    for (const { pasid, place } of [...this.#aux.values()].reverse()) {
      place.leave();
      this.#hardware.pasids.free(pasid);
    }
    this.#aux.clear();
    for (const requester of [...this.requesters].reverse()) this.#hardware.iommus.disconnect(requester);
  }

  #giveAux(requester: Requester, domain: ProposedDomain): void {
    const pasid = hostPasid(this.#hardware, requester);
    let place: Place;
    try {
      place = domain.attach(requester, pasid);
    } catch (error) {
      this.#hardware.pasids.free(pasid);
      throw error;
    }
    this.#aux.set(requester, { pasid, place });
    requester.plain = place.reach({ pasid, ats: false, privileged: false });
  }
}

/**
 * A PASID of the host's that is free in a requester's table too: the parent's own user may have entered numbers there.
 * ENOSPC.
 */
export function hostPasid(hardware: NestingHardware, requester: Requester): number {
  const { pasids, iommus } = hardware;
  const passed: number[] = [];
  try {
    for (;;) {
      const pasid = pasids.allocate(requester.owner, undefined);
      if (!iommus.isTaken(requester, pasid)) return pasid;
      passed.push(pasid);
    }
  } finally {
    for (const pasid of passed) pasids.free(pasid);
  }
}
