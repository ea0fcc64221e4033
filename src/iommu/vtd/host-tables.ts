import { encodeDescriptor } from "../../uapi/intel-invalidation.ts";
import { PASID_BITS, type PasidEntry } from "./pasid-entry.ts";
import { HostPasidTable } from "./pasid-table.ts";
import { VtdUnit } from "./unit.ts";

/** Address of a device-TLB invalidation that means all addresses. */
export const ALL_ADDRESSES = 2n ** 51n - 1n;

/** What the host knows of a device that makes requests, by its source-id. */
export interface Requester {
  /** Its requests can have PASIDs of 20 bits. */
  readonly pasid: boolean;
  /** It has a TLB of its own, and ATS is on. */
  readonly ats: boolean;
  /** Its page requests are on. */
  readonly pri: boolean;
}

/** The PASID tables that the host keeps for its devices in scalable mode, and the domain-ids that it gives out. One per host. */
export class HostPasidTables {
  readonly unit = new VtdUnit();
  /** What a device can do. */
  readonly abilities: (source: number) => Requester;
  readonly #tables = new Map<number, HostPasidTable>();
  readonly #freeDomains: number[] = [];
  #nextDomain = 1;

  constructor(abilities: (source: number) => Requester) {
    this.abilities = abilities;
  }

  /** A domain-id that nobody else has. */
  newDomain(): number {
    return this.#freeDomains.pop() ?? this.#nextDomain++;
  }

  /** Nothing is cached under it any more. */
  freeDomain(domain: number): void {
    this.#freeDomains.push(domain);
  }

  /** Enters a translation; what was there before is flushed by whoever knows its domain. */
  set(source: number, pasid: number, entry: PasidEntry): void {
    this.#table(source).set(pasid, entry);
  }

  /** Takes one out, with everything that is cached of it. */
  clear(source: number, pasid: number, domain: number): void {
    this.#tables.get(source)?.clear(pasid);
    this.flushPasid(source, domain, pasid);
  }

  /** A device has a table, though nothing may be in it: its requests with PASIDs find that out. */
  prepare(source: number): void {
    this.#table(source);
  }

  /** In the order that the specification asks for: PASID cache, IOTLB, device TLB (pasid.c:intel_pasid_tear_down_entry). */
  flushPasid(source: number, domain: number, pasid: number): void {
    const { unit } = this;
    unit.submit(encodeDescriptor("pasidCache", { granularity: 1, domain, pasid }));
    unit.submit(encodeDescriptor("pasidIotlb", { granularity: 2, domain, pasid }));
    unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId: source, pasid, size: 1, address: ALL_ADDRESSES }));
  }

  /** The host's own table of a device serves again, after a guest's did. */
  restoreContext(source: number): void {
    const table = this.#tables.get(source);
    if (table) this.#setContext(source, table);
    else this.unit.clearContext(source);
  }

  #table(source: number): HostPasidTable {
    let table = this.#tables.get(source);
    if (table) return table;
    table = new HostPasidTable(this.unit.memory, PASID_BITS);
    this.#tables.set(source, table);
    this.#setContext(source, table);
    return table;
  }

  #setContext(source: number, table: HostPasidTable): void {
    const { unit } = this;
    const { ats, pri } = this.abilities(source);
    unit.setContext(source, {
      tables: unit.memory,
      directory: table.directory,
      bits: PASID_BITS,
      pageRequests: pri,
      ...(ats && { deviceTlb: unit.newTranslationCache() }),
    });
  }
}
