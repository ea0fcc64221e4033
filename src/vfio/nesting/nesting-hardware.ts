import { PASID_BITS, type PasidEntry } from "../../iommu/vtd/pasid-entry.ts";
import { HostPasidTable } from "../../iommu/vtd/pasid-table.ts";
import { VtdUnit } from "../../iommu/vtd/unit.ts";
import { fail } from "../../kernel/errors.ts";
import type { ApiProfile, HostDescription } from "../../machine/host-description.ts";
import { encodeDescriptor } from "../../uapi/intel-invalidation.ts";
import { type IommuDevice, IommuDevices } from "./iommu-device.ts";
import { PasidPool } from "./pasid-pool.ts";

/** Address of a device-TLB invalidation that means all addresses. */
export const ALL_ADDRESSES = 2n ** 51n - 1n;

/** What all containers of a host share for nested translation: the IOMMU, its PASID tables, the PASIDs and the devices. */
export class NestingHardware {
  readonly profile: Exclude<ApiProfile, "mainline">;
  readonly unit = new VtdUnit();
  readonly pasids = new PasidPool();
  readonly devices: IommuDevices;
  readonly #tables = new Map<number, HostPasidTable>();
  /** By source and PASID: which domain has the entry, and for how many devices. */
  readonly #users = new Map<string, { readonly domain: number; count: number }>();
  readonly #forgetters = new Set<(pasid: number) => void>();
  #nextDomain = 1;

  constructor(host: HostDescription, profile: Exclude<ApiProfile, "mainline">) {
    this.profile = profile;
    this.devices = new IommuDevices(host);
  }

  /** A domain-id that no other container has. */
  newDomain(): number {
    return this.#nextDomain++;
  }

  /** How many PASID table entries are in use, of all devices. */
  get entryCount(): number {
    return this.#users.size;
  }

  /**
   * Enters a translation for a PASID of a device. Several mediated devices of one parent may share it
   * (drivers/iommu/intel/svm.c:intel_svm_bind_gpasid of 5.8, for aux domains). EBUSY.
   */
  bind(device: IommuDevice, pasid: number, entry: PasidEntry): void {
    const { source, name, requester } = device;
    const key = `${source}.${pasid}`;
    const users = this.#users.get(key);
    if (users) {
      if (users.domain !== entry.domain || !device.isMediated) {
        fail(
          "EBUSY",
          `PASID ${pasid} of ${requester} is bound already${users.domain === entry.domain ? "" : " through another container"}, so that it cannot be bound for ${name}`,
        );
      }
      users.count++;
      return;
    }
    this.#users.set(key, { domain: entry.domain, count: 1 });
    this.#table(source).set(pasid, entry);
  }

  /** Takes it back, with everything that is cached of it. Cannot fail. */
  unbind({ source }: IommuDevice, pasid: number): void {
    const key = `${source}.${pasid}`;
    const users = this.#users.get(key);
    if (!users || --users.count > 0) return;
    this.#users.delete(key);
    this.#tables.get(source)?.clear(pasid);
    this.flushPasid(source, users.domain, pasid);
  }

  /** Takes a PASID back wherever it is bound: by whichever container. */
  unbindEverywhere(pasid: number): void {
    for (const unbind of [...this.#forgetters]) unbind(pasid);
  }

  /** A container says how it unbinds a PASID; returns how to stop that. */
  onUnbind(unbind: (pasid: number) => void): () => void {
    this.#forgetters.add(unbind);
    return () => this.#forgetters.delete(unbind);
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
    unit.setContext(source, {
      tables: unit.memory,
      directory: table.directory,
      bits: PASID_BITS,
      pageRequests: false,
      deviceTlb: unit.newTranslationCache(),
    });
  }
}
