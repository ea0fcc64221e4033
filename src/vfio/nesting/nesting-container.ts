import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { PasidAccount } from "../../iommu/pasid-pool.ts";
import type { FirstStage, GuestPasidTable, ProposedDomain } from "../../iommu/proposed.ts";
import type { DmaOwner, Place, Requester } from "../../iommu/requester.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail } from "../../kernel/errors.ts";
import { encodeDescriptor, WHOLE_DEVICE_TLB } from "../../uapi/intel-invalidation.ts";
import { refuseUnseen } from "../requesters.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { ContainerMappings } from "./container-mappings.ts";
import { hostPasid, Member } from "./member.ts";
import type { NestingHardware } from "./nesting-hardware.ts";
import { ProcessMappings, USER_LAST } from "./process-mappings.ts";

/** The mappings say themselves where they end. */
const LAST_ADDRESS = 2n ** 64n - 1n;

/** A PASID as it is bound for one device. */
interface BoundPlace {
  readonly place: Place;
  /** The number in the device's table: the guest's own, or the host's that it is translated to. */
  readonly pasid: number;
  /** The number came from the host's pool for this place. */
  readonly isTranslated: boolean;
}

/** A PASID that is bound. */
interface Bound {
  readonly places: Map<Requester, BoundPlace>;
  /** Ends what goes with the binding as a whole: the charge against a quota, the notice when the PASID is freed. */
  end(): void;
}

/** Who opened the container: for messages. */
export interface Opener {
  readonly name: string;
  readonly pid: number;
}

/**
 * A container's part of the IOMMUs: its devices as requesters, its domains, and what is bound.
 *
 * PCI functions and mediated devices go through domains of their own: numbers that a guest chooses for the first can be
 * those that the host has chosen for the second, and translations are told apart by domain-id and PASID.
 */
export class NestingContainer implements DmaOwner {
  readonly hardware: NestingHardware;
  readonly #iommu: Type1Iommu;
  readonly #opener: Opener;
  readonly #plain: DmaTarget;
  readonly #functions: ProposedDomain;
  readonly #mediated: ProposedDomain;
  readonly #members = new Map<DmaGroup, Member>();
  #joining: DmaGroup | undefined;
  /** By the PASID that devices' requests carry. */
  readonly #bound = new Map<number, Bound>();
  /** The devices that go by a PASID table of the guest's. */
  readonly #guestTable = new Map<Requester, Place>();

  constructor(hardware: NestingHardware, iommu: Type1Iommu, dma: DmaTarget, opener: Opener) {
    this.hardware = hardware;
    this.#iommu = iommu;
    this.#opener = opener;
    this.#plain = dma;
    const mappings = new ContainerMappings(iommu);
    const stage = { last: LAST_ADDRESS, isSecond: true };
    this.#functions = hardware.iommus.paging(mappings, stage);
    this.#mediated = hardware.iommus.paging(mappings, stage);
  }

  get label(): string {
    const groups = [...this.groups, ...(this.#joining ? [this.#joining] : [])].map(({ label }) => label).join(", ");
    const { name, pid } = this.#opener;
    return `the container of ${groups || "no group"} (process ${name}, pid ${pid})`;
  }

  get groups(): readonly DmaGroup[] {
    return [...this.#members.keys()];
  }

  /** All devices that an IOMMU sees, in the order in which their groups came. */
  get requesters(): readonly Requester[] {
    return [...this.#members.values()].flatMap(({ requesters }) => requesters);
  }

  /**
   * The same for requests that are for all devices or none: ENODEV for a device that no IOMMU sees, before anything is
   * done.
   */
  needAll(): readonly Requester[] {
    for (const { unseen } of this.#members.values()) if (unseen.length > 0) refuseUnseen(unseen[0]!);
    return this.requesters;
  }

  /**
   * Those that an invalidation is for. A device that no IOMMU sees takes nothing from the others: once something is
   * bound it is for those that have it. ENODEV while nothing is.
   */
  concerned(): readonly Requester[] {
    return this.hasBindings ? this.requesters : this.needAll();
  }

  get hasBindings(): boolean {
    return this.#bound.size > 0 || this.#guestTable.size > 0;
  }

  get hasGuestTable(): boolean {
    return this.#guestTable.size > 0;
  }

  isBound(pasid: number): boolean {
    return this.#bound.has(pasid);
  }

  /** The number under which a PASID is in a device's table; undefined when it is not bound for the device. */
  hostNumber(requester: Requester, pasid: number): number | undefined {
    return this.#bound.get(pasid)?.places.get(requester)?.pasid;
  }

  /** All numbers in a device's table that lead to this container's memory. */
  ownNumbers(requester: Requester): number[] {
    const numbers = [...this.#bound.values()].map(({ places }) => places.get(requester)?.pasid);
    const aux = [...this.#members.values()].map((member) => member.auxOf(requester));
    return [...numbers, ...aux].filter((pasid) => pasid !== undefined);
  }

  /** What a device's translations are tagged with; undefined when nothing of it has been entered. */
  domainIdOf(requester: Requester): number | undefined {
    return this.#baseOf(requester).idFor(requester.identity);
  }

  /** Where DMA of a device of a member goes; undefined for a device that no IOMMU sees. */
  reach(group: DmaGroup, name: string): Requester | undefined {
    return this.#members.get(group)?.find(name);
  }

  /** A group comes in. ENOSPC, EBUSY, and then nothing has changed. */
  join(group: DmaGroup): void {
    this.#joining = group;
    try {
      this.#members.set(group, Member.join(this.hardware, this, group, this.#plain, this.#mediated));
    } finally {
      this.#joining = undefined;
    }
  }

  /** A group goes: whatever was bound for its devices is unbound. */
  leave(group: DmaGroup): void {
    const member = this.#members.get(group);
    if (!member) return;
    for (const [pasid, bound] of [...this.#bound]) {
      for (const requester of member.requesters) this.#unbindFor(requester, pasid, bound);
      if (bound.places.size === 0) this.#forget(pasid, bound);
    }
    for (const requester of member.requesters) this.#leaveTable(requester);
    member.leave();
    this.#members.delete(group);
  }

  /**
   * Binds a guest's table to a PASID for all devices or for none.
   * @param account whose quota a PASID counts against that the guest has chosen; not looked at where PASIDs are
   * allocated
   * @throws KernelError ENODEV, EBUSY, ENOSPC, and then nothing has changed
   */
  bind(pasid: number, first: FirstStage, account: PasidAccount): void {
    const over = (base: ProposedDomain) => base.nested(() => first, "shared");
    this.#bind(pasid, { functions: over(this.#functions), mediated: over(this.#mediated) }, account);
  }

  /**
   * Binds a process's own memory to a PASID: the device then uses the addresses that the process uses. Errors as
   * bind().
   */
  bindProcess(pasid: number, space: AddressSpace): void {
    const mappings = new ProcessMappings(space);
    const beside = (base: ProposedDomain) => base.beside(mappings, { last: USER_LAST, isSecond: true });
    this.#bind(pasid, { functions: beside(this.#functions), mediated: beside(this.#mediated) }, space);
  }

  /**
   * Unbinds from exactly the devices that it was bound on. Nothing bound is no failure: the caller could do nothing
   * about it.
   */
  unbind(pasid: number): void {
    const bound = this.#bound.get(pasid);
    if (!bound) return;
    for (const requester of [...bound.places.keys()].reverse()) this.#unbindFor(requester, pasid, bound);
    this.#forget(pasid, bound);
  }

  /**
   * Lets all devices go by a guest's PASID table. ENODEV, EBUSY, ENOSPC, EOPNOTSUPP for mediated devices: their
   * parent's table is the host's.
   */
  bindGuestTable(table: GuestPasidTable): void {
    const requesters = this.needAll();
    const mediated = requesters.find(({ identity }) => identity.isMediated)?.identity;
    if (mediated) {
      fail(
        "EOPNOTSUPP",
        `${mediated.name} shares the PASID table of ${mediated.functionName}, which stays the host's; bind page tables instead`,
      );
    }
    if (this.hasGuestTable) fail("EBUSY", "the devices go by a PASID table of the guest's already; unbind it first");
    const [bound] = this.#bound.keys();
    if (bound !== undefined) fail("EBUSY", `PASID ${bound} is bound in the host's PASID table; unbind it first`);
    try {
      for (const requester of requesters) {
        const place = this.#functions.attachTable(requester, table);
        requester.wholeTable = place;
        this.#guestTable.set(requester, place);
      }
    } catch (error) {
      this.unbindGuestTable();
      throw error;
    }
  }

  /** Cannot fail; nothing bound is no failure. */
  unbindGuestTable(): void {
    for (const requester of [...this.#guestTable.keys()].reverse()) this.#leaveTable(requester);
  }

  /**
   * Mappings went: nothing may be reached through what is cached of them (iommu.c:intel_iommu_tlb_sync, domain-wide).
   */
  secondLevelChanged(): void {
    if (!this.#functions.isEntered && !this.#mediated.isEntered) return;
    this.#functions.flushIds();
    this.#mediated.flushIds();
    const done = new Set<string>();
    for (const { identity } of this.requesters) {
      const { segment, source: sourceId } = identity;
      const unit = this.hardware.iommus.unitOf(identity);
      if (done.has(`${segment}.${sourceId}`)) continue;
      done.add(`${segment}.${sourceId}`);
      unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId, global: 1, size: 1, address: WHOLE_DEVICE_TLB }));
    }
  }

  /** Everything bound is unbound and the PASIDs are free again. */
  release(): void {
    for (const group of this.groups) this.leave(group);
    // a PASID that was allocated through this container may be bound in another one of the same process
    for (const pasid of this.hardware.pasids.of(this)) this.hardware.pasids.free(pasid);
  }

  #baseOf({ identity }: Requester): ProposedDomain {
    return identity.isMediated ? this.#mediated : this.#functions;
  }

  #bind(
    pasid: number,
    domains: { readonly functions: ProposedDomain; readonly mediated: ProposedDomain },
    account: PasidAccount,
  ): void {
    const requesters = this.needAll();
    const bound: Bound = { places: new Map(), end: this.#count(pasid, account) };
    try {
      for (const requester of requesters) {
        const { isMediated } = requester.identity;
        this.#bindFor(requester, pasid, bound, isMediated ? domains.mediated : domains.functions);
      }
    } catch (error) {
      for (const requester of [...bound.places.keys()].reverse()) this.#unbindFor(requester, pasid, bound);
      bound.end();
      throw error;
    }
    this.#bound.set(pasid, bound);
  }

  /**
   * A chosen PASID counts against the quota of its process while it is bound; an allocated one is unbound when it is
   * freed. ENOSPC.
   */
  #count(pasid: number, account: PasidAccount): () => void {
    const { pasids, guestsChoosePasids } = this.hardware;
    if (!guestsChoosePasids) return pasids.whenFreed(pasid, (freed) => this.unbind(freed));
    pasids.charge(account, this.#iommu.context.numberParameter("vfio_iommu_type1/pasid_quota"));
    return () => pasids.credit(account);
  }

  #bindFor(requester: Requester, pasid: number, { places }: Bound, domain: ProposedDomain): void {
    const isTranslated = this.hardware.guestsChoosePasids && requester.identity.isMediated;
    const number = isTranslated ? hostPasid(this.hardware, requester) : pasid;
    let place: Place;
    try {
      place = domain.attach(requester, number);
    } catch (error) {
      if (isTranslated) this.hardware.pasids.free(number);
      throw error;
    }
    requester.bind(pasid, place);
    places.set(requester, { place, pasid: number, isTranslated });
  }

  #unbindFor(requester: Requester, pasid: number, { places }: Bound): void {
    const bound = places.get(requester);
    if (!bound) return;
    places.delete(requester);
    requester.unbind(pasid, bound.place);
    bound.place.leave();
    if (bound.isTranslated) this.hardware.pasids.free(bound.pasid);
  }

  #forget(pasid: number, bound: Bound): void {
    this.#bound.delete(pasid);
    bound.end();
  }

  #leaveTable(requester: Requester): void {
    const place = this.#guestTable.get(requester);
    if (!place) return;
    this.#guestTable.delete(requester);
    requester.wholeTable = undefined;
    place.leave();
  }
}
