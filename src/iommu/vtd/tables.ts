import { fail } from "../../kernel/errors.ts";
import { encodeDescriptor, WHOLE_DEVICE_TLB } from "../../uapi/intel-invalidation.ts";
import { IdSet } from "../id-set.ts";
import { PASID_BITS, type Requester, type RequesterIdentity } from "../requester.ts";
import type { DeviceContext } from "./device-context.ts";
import type { PasidEntry } from "./pasid-entry.ts";
import { HostPasidTable } from "./pasid-table.ts";
import { VtdUnit } from "./unit.ts";

/** Domain-ids are 16 bits; 0 is reserved (caching mode). */
const DOMAIN_MIN = 1;
const DOMAIN_MAX = 2 ** 16 - 1;

/** An entry of a PASID table, with whose it is. */
interface Claim {
  /** The domain that was entered. */
  readonly domain: object;
  readonly domainId: number;
  /**
   * Mediated devices of one parent in one container share an entry (drivers/iommu/intel/svm.c:intel_svm_bind_gpasid of
   * 5.8, for aux domains).
   */
  readonly requesters: Set<Requester>;
}

/** What the host has for one source-id. */
interface Source {
  readonly identity: RequesterIdentity;
  /** Devices that are attached to anybody: a parent, and mediated devices of it. */
  readonly requesters: Set<Requester>;
  readonly claims: Map<number, Claim>;
  readonly table: HostPasidTable;
  /** The owner's own table is in force instead of the host's. */
  guest: Requester | undefined;
}

/** Finds the tables that a device is in. */
export interface TablesBySegment {
  of(identity: RequesterIdentity): VtdTables;
}

/**
 * The unit of one PCI segment, the PASID tables that the host keeps for the devices behind it, and the domain-ids that
 * it gives out.
 */
export class VtdTables {
  readonly unit = new VtdUnit();
  readonly #sources = new Map<number, Source>();
  readonly #domains = new IdSet(DOMAIN_MAX + 1);
  #entries = 0;

  /** How many PASID table entries are in use, of all devices. */
  get entryCount(): number {
    return this.#entries;
  }

  /** How many devices are attached. */
  get requesterCount(): number {
    let count = 0;
    for (const { requesters } of this.#sources.values()) count += requesters.size;
    return count;
  }

  /** How many domain-ids are in use. */
  get domainCount(): number {
    return this.#domains.size;
  }

  /** A domain-id that nobody else has. ENOSPC. */
  newDomain(): number {
    return (
      this.#domains.take(DOMAIN_MIN, DOMAIN_MAX) ??
      fail("ENOSPC", `the IOMMU has ${DOMAIN_MAX} domain-ids and all are in use; detach devices first`)
    );
  }

  /** Gives it back, with everything that is cached under it. */
  freeDomain(domain: number): void {
    this.unit.submit(encodeDescriptor("pasidCache", { granularity: 0, domain }));
    this.unit.submit(encodeDescriptor("iotlb", { granularity: 2, domain }));
    this.#domains.release(domain);
  }

  /**
   * A device is attached to an owner. With the first one of a source-id its table comes: requests find out in it that
   * nothing is bound.
   */
  connect(requester: Requester): void {
    const { identity } = requester;
    const source = this.#sources.get(identity.source);
    if (source) source.requesters.add(requester);
    else {
      const table = new HostPasidTable(this.unit.memory, PASID_BITS);
      const requesters = new Set([requester]);
      this.#sources.set(identity.source, { identity, requesters, claims: new Map(), table, guest: undefined });
      this.#setContext(identity, table);
    }
  }

  /** It is detached, and everything of it has left the tables. With the last device of a source-id its table goes. */
  disconnect(requester: Requester): void {
    const { source: id } = requester.identity;
    const source = this.#sources.get(id);
    if (!source?.requesters.delete(requester) || source.requesters.size > 0) return;
    this.#sources.delete(id);
    source.table.free();
    this.unit.clearContext(id);
    this.unit.faults.clear(id);
  }

  /** Whether the entry of a PASID is in use for a device's source-id. */
  isTaken({ identity }: Requester, pasid: number): boolean {
    return this.#sources.get(identity.source)?.claims.has(pasid) ?? false;
  }

  /**
   * Enters a translation for a PASID of a device. EBUSY with a reason that names both owners, and then nothing has
   * changed.
   */
  enter(requester: Requester, pasid: number, entry: PasidEntry, domain: object): void {
    const source = this.#sourceOf(requester);
    this.#refuseGuest(source, requester, `PASID ${pasid}`);
    const there = source.claims.get(pasid);
    if (there) {
      const [first] = there.requesters;
      if (there.domain !== domain || !requester.identity.isMediated || there.requesters.has(requester)) {
        fail(
          "EBUSY",
          `PASID ${pasid} of ${requester.identity.functionName} belongs to ${first!.owner.label}, where it is bound for ${first!.identity.name}; ${requester.owner.label} cannot have it for ${requester.identity.name}`,
        );
      }
      there.requesters.add(requester);
      return;
    }
    source.table.set(pasid, entry);
    source.claims.set(pasid, { domain, domainId: entry.domain, requesters: new Set([requester]) });
    this.#entries++;
  }

  /**
   * Takes it out for one device; with the last that shares it everything that is cached of it goes. Nothing when it is
   * not the device's.
   */
  leave(requester: Requester, pasid: number, domain: object): void {
    const { source: id } = requester.identity;
    const source = this.#sources.get(id);
    const claim = source?.claims.get(pasid);
    if (claim?.domain !== domain || !claim.requesters.delete(requester) || claim.requesters.size > 0) return;
    source!.claims.delete(pasid);
    this.#entries--;
    source!.table.clear(pasid);
    this.#flushPasid(id, claim.domainId, pasid);
  }

  /**
   * A device goes by a table of its owner's instead of the host's. EBUSY when something else has entries in the host's:
   * the mediated devices of a parent would go by its owner's table.
   */
  takeOver(requester: Requester, context: Omit<DeviceContext, "pageRequests" | "deviceTlb">): void {
    const source = this.#sourceOf(requester);
    this.#refuseGuest(source, requester, "the PASID table");
    for (const [pasid, { requesters }] of source.claims) {
      const [other] = requesters;
      fail(
        "EBUSY",
        `PASID ${pasid} of ${requester.identity.functionName} belongs to ${other!.owner.label}, where it is bound for ${other!.identity.name}; ${requester.owner.label} cannot have the whole table until it is unbound`,
      );
    }
    source.guest = requester;
    this.unit.setContext(requester.identity.source, { ...context, ...this.#abilities(requester.identity) });
  }

  /** The host's own table of the device serves again. */
  giveBack(requester: Requester): void {
    const { source: id } = requester.identity;
    const source = this.#sources.get(id);
    if (source?.guest !== requester) return;
    source.guest = undefined;
    this.#setContext(source.identity, source.table);
  }

  #sourceOf(requester: Requester): Source {
    const source = this.#sources.get(requester.identity.source);
    if (!source?.requesters.has(requester)) throw new Error(`${requester.identity.name} is not attached`);
    return source;
  }

  #refuseGuest({ guest }: Source, requester: Requester, what: string): void {
    if (!guest) return;
    fail(
      "EBUSY",
      `${guest.identity.functionName} goes by a PASID table of ${guest.owner.label}; ${requester.owner.label} cannot have ${what} for ${requester.identity.name}`,
    );
  }

  /**
   * In the order that the specification asks for: PASID cache, IOTLB, device TLB (pasid.c:intel_pasid_tear_down_entry).
   */
  #flushPasid(source: number, domain: number, pasid: number): void {
    const { unit } = this;
    unit.submit(encodeDescriptor("pasidCache", { granularity: 1, domain, pasid }));
    unit.submit(encodeDescriptor("pasidIotlb", { granularity: 2, domain, pasid }));
    unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId: source, pasid, size: 1, address: WHOLE_DEVICE_TLB }));
  }

  #setContext(identity: RequesterIdentity, table: HostPasidTable): void {
    const { unit } = this;
    unit.setContext(identity.source, {
      tables: unit.memory,
      directory: table.directory,
      bits: PASID_BITS,
      ...this.#abilities(identity),
    });
  }

  #abilities({ ats, pri }: RequesterIdentity): Pick<DeviceContext, "pageRequests" | "deviceTlb"> {
    return { pageRequests: pri, ...(ats && { deviceTlb: this.unit.newTranslationCache() }) };
  }
}
