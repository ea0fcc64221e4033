import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { FirstLevelTable } from "../../iommu/vtd/first-level.ts";
import { ALL_ADDRESSES } from "../../iommu/vtd/host-tables.ts";
import type { PasidEntry } from "../../iommu/vtd/pasid-entry.ts";
import { loadThrough, storeThrough } from "../../iommu/vtd/second-level.ts";
import type { TableMemory } from "../../iommu/vtd/table-memory.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail } from "../../kernel/errors.ts";
import { encodeDescriptor } from "../../uapi/intel-invalidation.ts";
import type { VfioGroup } from "../group.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { ContainerLevel } from "./container-level.ts";
import type { IommuDevice } from "./iommu-device.ts";
import type { NestingHardware } from "./nesting-hardware.ts";
import { PASID_MAX, PASID_MIN } from "./pasid-pool.ts";
import { ProcessLevel } from "./process-level.ts";

/** What a PASID is to be translated by. */
export interface FirstLevelBinding {
  readonly table: FirstLevelTable;
  readonly supervisor: boolean;
}

/** A PASID table that a guest keeps in its memory. */
export interface GuestPasidTable {
  /** Guest physical address of the directory. */
  readonly directory: bigint;
  readonly bits: number;
}

/** A device with the group that brought it. */
export interface VisitedDevice {
  readonly group: VfioGroup;
  readonly device: IommuDevice;
}

/** A container's part of the IOMMU: its domain, what is bound in it, and the PASIDs that mediated devices have for themselves. */
export class NestingContainer {
  readonly hardware: NestingHardware;
  readonly domain: number;
  readonly secondLevel: bigint;
  readonly #iommu: Type1Iommu;
  readonly #level: ContainerLevel;
  /** The devices that go by a PASID table of the guest's. */
  #guestTable: VisitedDevice[] = [];
  /** By PASID: the process whose memory it is (BIND_PASID). */
  readonly #processes = new Map<number, bigint>();
  /** Ends the notice of PASIDs that are freed elsewhere. */
  readonly #stop: () => void;
  /** By PASID: the devices that it is bound on, in the order of binding. */
  readonly #bound = new Map<number, VisitedDevice[]>();
  /** By mediated device: the PASID of its aux domain, which requests without one use. */
  readonly #aux = new Map<string, { readonly pasid: number; readonly visited: VisitedDevice }>();

  constructor(hardware: NestingHardware, iommu: Type1Iommu, dma: DmaTarget) {
    this.hardware = hardware;
    this.#iommu = iommu;
    this.domain = hardware.newDomain();
    // no table of the hardware's: the address only has to be this container's own
    this.secondLevel = (1n << 51n) | (BigInt(this.domain) << 12n);
    this.#stop = hardware.onUnbind((pasid) => this.unbind(pasid));
    this.#level = new ContainerLevel(iommu, dma);
    hardware.unit.registerSecondLevel(this.secondLevel, this.#level);
  }

  get groups(): readonly VfioGroup[] {
    const { domains, emulatedGroups } = this.#iommu;
    return [...domains.flatMap(({ groups }) => groups), ...emulatedGroups].map(({ group }) => group);
  }

  /** Every device of every group, with its group. ENODEV for a device that no IOMMU knows; so it comes before anything is done. */
  devices(): readonly VisitedDevice[] {
    const { devices } = this.hardware;
    return this.groups.flatMap((group) =>
      group.iommuGroup.deviceNames.map((name) => ({ group, device: devices.need(name) })),
    );
  }

  /** A device by name that is in the container and that the IOMMU knows. */
  find(name: string): IommuDevice | undefined {
    const isHere = this.groups.some(({ iommuGroup }) => iommuGroup.deviceNames.includes(name));
    return isHere ? this.hardware.devices.find(name) : undefined;
  }

  isBound(pasid: number): boolean {
    return this.#bound.has(pasid);
  }

  /** All PASIDs that lead to this container's memory. */
  ownPasids(): number[] {
    return [...this.#bound.keys(), ...[...this.#aux.values()].map(({ pasid }) => pasid)];
  }

  auxPasid(name: string): number | undefined {
    return this.#aux.get(name)?.pasid;
  }

  /** A group came in: its mediated devices get their aux domains. */
  attached(group: VfioGroup): void {
    for (const name of group.iommuGroup.deviceNames) {
      const device = this.hardware.devices.find(name);
      if (!device?.isMediated) continue;
      const pasid = this.hardware.pasids.allocate(this, undefined, PASID_MIN, PASID_MAX, 0);
      const { domain, secondLevel } = this;
      this.hardware.bind(device, pasid, {
        type: "second",
        domain,
        secondLevel,
        firstLevel: undefined,
        supervisor: false,
        execute: false,
      });
      this.#aux.set(name, { pasid, visited: { group, device } });
    }
  }

  /** A group goes: whatever was bound for its devices is unbound. */
  detaching(group: VfioGroup): void {
    this.unbindGuestTable((each) => each.group === group);
    for (const [pasid, visited] of [...this.#bound]) {
      this.#unbindAll(
        pasid,
        visited.filter((each) => each.group === group),
      );
      const rest = visited.filter((each) => each.group !== group);
      if (rest.length > 0) this.#bound.set(pasid, rest);
      else this.#bound.delete(pasid);
    }
    for (const [name, { pasid, visited }] of [...this.#aux]) {
      if (visited.group !== group) continue;
      this.hardware.unbind(visited.device, pasid);
      this.hardware.pasids.free(pasid);
      this.#aux.delete(name);
    }
  }

  /**
   * Binds a guest's table to a PASID for all devices or for none: when one refuses, those before it are unbound again, the last one first.
   * ENODEV, EBUSY.
   */
  bind(pasid: number, { table, supervisor }: FirstLevelBinding): void {
    const { domain, secondLevel } = this;
    this.#bindEntry(pasid, { type: "nested", domain, secondLevel, firstLevel: table, supervisor, execute: true });
  }

  /** Binds a process's own memory to a PASID: the device then uses the addresses that the process uses. Errors as bind(). */
  bindProcess(pasid: number, space: AddressSpace): void {
    const { domain, hardware } = this;
    const secondLevel = (1n << 62n) | (BigInt(domain) << 34n) | (BigInt(pasid) << 12n);
    hardware.unit.registerSecondLevel(secondLevel, new ProcessLevel(space));
    this.#bindEntry(pasid, {
      type: "second",
      domain,
      secondLevel,
      firstLevel: undefined,
      supervisor: false,
      execute: false,
    });
    this.#processes.set(pasid, secondLevel);
  }

  /** Lets all devices go by a guest's PASID table. ENODEV, EBUSY, EOPNOTSUPP for mediated devices: their parent's table is the host's. */
  bindGuestTable({ directory, bits }: GuestPasidTable): void {
    const { domain, secondLevel, hardware } = this;
    const visited = this.devices();
    const mediated = visited.find(({ device }) => device.isMediated);
    if (mediated)
      fail(
        "EOPNOTSUPP",
        `${mediated.device.name} shares the PASID table of ${mediated.device.requester}, which stays the host's; bind page tables instead`,
      );
    if (this.#guestTable.length > 0)
      fail("EBUSY", "the devices go by a PASID table of the guest's already; unbind it first");
    if (this.#bound.size > 0)
      fail("EBUSY", `PASID ${[...this.#bound.keys()][0]} is bound in the host's PASID table; unbind it first`);
    const level = this.#level;
    const tables: TableMemory = {
      load: (address) => loadThrough(level, address),
      store: (address, value) => storeThrough(level, address, value),
    };
    for (const { device } of visited) {
      hardware.unit.setContext(device.source, {
        tables,
        directory,
        bits,
        guest: { domain, secondLevel },
        pageRequests: false,
        deviceTlb: hardware.unit.newTranslationCache(),
      });
    }
    this.#guestTable = [...visited];
  }

  /** Cannot fail; nothing bound is no failure. */
  unbindGuestTable(which: (visited: VisitedDevice) => boolean = () => true): void {
    const leaving = this.#guestTable.filter(which);
    this.#guestTable = this.#guestTable.filter((each) => !leaving.includes(each));
    for (const { device } of leaving) this.hardware.restoreContext(device.source);
    if (leaving.length === 0) return;
    const { unit } = this.hardware;
    unit.submit(encodeDescriptor("pasidCache", { granularity: 0, domain: this.domain }));
    unit.submit(encodeDescriptor("iotlb", { granularity: 2, domain: this.domain }));
  }

  get hasGuestTable(): boolean {
    return this.#guestTable.length > 0;
  }

  #bindEntry(pasid: number, entry: PasidEntry): void {
    const { hardware } = this;
    const done: VisitedDevice[] = [];
    try {
      for (const visited of this.devices()) {
        hardware.bind(visited.device, pasid, entry);
        done.push(visited);
      }
    } catch (error) {
      this.#unbindAll(pasid, done);
      throw error;
    }
    this.#bound.set(pasid, done);
  }

  /** Unbinds from exactly the devices that it was bound on. Nothing bound is no failure: the caller could do nothing about it. */
  unbind(pasid: number): void {
    this.#unbindAll(pasid, this.#bound.get(pasid) ?? []);
    this.#bound.delete(pasid);
    const process = this.#processes.get(pasid);
    if (process === undefined) return;
    this.#processes.delete(pasid);
    this.hardware.unit.forgetSecondLevel(process);
  }

  /** Mappings went: nothing may be reached through what is cached of them (iommu.c:intel_iommu_tlb_sync, domain-wide). */
  secondLevelChanged(): void {
    if (this.#bound.size === 0 && this.#aux.size === 0 && !this.hasGuestTable) return;
    const { unit } = this.hardware;
    unit.submit(encodeDescriptor("iotlb", { granularity: 2, domain: this.domain }));
    for (const source of this.sources()) {
      unit.submit(encodeDescriptor("pasidDeviceTlb", { sourceId: source, global: 1, size: 1, address: ALL_ADDRESSES }));
    }
  }

  /** The source-ids of the devices that are here, each once; devices without an IOMMU have none. */
  sources(): number[] {
    const found = this.groups.flatMap(({ iommuGroup }) =>
      iommuGroup.deviceNames.map((name) => this.hardware.devices.find(name)?.source),
    );
    return [...new Set(found)].filter((source) => source !== undefined);
  }

  /** Everything bound is unbound and the PASIDs are free again. */
  release(): void {
    for (const pasid of [...this.#bound.keys()]) this.unbind(pasid);
    for (const group of this.groups) this.detaching(group);
    // a PASID of this container's may be bound in another one of the same process
    for (const pasid of this.hardware.pasids.of(this)) {
      this.hardware.unbindEverywhere(pasid);
      this.hardware.pasids.free(pasid);
    }
    this.#stop();
    this.hardware.unit.forgetSecondLevel(this.secondLevel);
  }

  #unbindAll(pasid: number, visited: readonly VisitedDevice[]): void {
    for (const { device } of [...visited].reverse()) this.hardware.unbind(device, pasid);
  }
}
