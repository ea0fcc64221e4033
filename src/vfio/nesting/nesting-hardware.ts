import type { HostPasidTables } from "../../iommu/vtd/host-tables.ts";
import type { PasidEntry } from "../../iommu/vtd/pasid-entry.ts";
import type { VtdUnit } from "../../iommu/vtd/unit.ts";
import { fail } from "../../kernel/errors.ts";
import type { Release } from "../../kernel/releases.ts";
import type { ApiProfile, HostDescription } from "../../machine/host-description.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { proposedDialect } from "../../uapi/requests/dialects.ts";
import { type IommuDevice, IommuDevices } from "./iommu-device.ts";
import { PasidPool } from "./pasid-pool.ts";

/** What all containers of a host share for nested translation: the IOMMU, its PASID tables, the PASIDs and the devices. */
export class NestingHardware {
  readonly profile: Exclude<ApiProfile, "mainline">;
  readonly unit: VtdUnit;
  readonly pasids = new PasidPool();
  readonly devices: IommuDevices;
  /** By source and PASID: which domain has the entry, and for how many devices. */
  readonly #users = new Map<string, { readonly domain: number; count: number }>();
  readonly #forgetters = new Set<(pasid: number) => void>();
  readonly #host: HostPasidTables;

  constructor(host: HostDescription, profile: Exclude<ApiProfile, "mainline">, tables: HostPasidTables) {
    this.profile = profile;
    this.devices = new IommuDevices(host);
    this.#host = tables;
    this.unit = tables.unit;
  }

  /** What request numbers mean on its containers. */
  dialect(release: Release, isNesting: boolean): RequestDialect {
    return proposedDialect(this.profile, isNesting, release.has("iommuUapiArgsz"));
  }

  /** A domain-id that no other container has. */
  newDomain(): number {
    return this.#host.newDomain();
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
    this.#host.set(source, pasid, entry);
  }

  /** Takes it back, with everything that is cached of it. Cannot fail. */
  unbind({ source }: IommuDevice, pasid: number): void {
    const key = `${source}.${pasid}`;
    const users = this.#users.get(key);
    if (!users || --users.count > 0) return;
    this.#users.delete(key);
    this.#host.clear(source, pasid, users.domain);
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

  /** The host's own table of a device serves again, after a guest's did. */
  restoreContext(source: number): void {
    this.#host.restoreContext(source);
  }
}
