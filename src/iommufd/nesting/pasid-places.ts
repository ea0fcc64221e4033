import { type DmaTarget, NoTarget, type WantedPage } from "../../iommu/dma-target.ts";
import { NO_PASID } from "../../iommu/domain.ts";
import type { DmaOwner, Place, Requester, RequesterIdentity } from "../../iommu/requester.ts";
import { IOMMU_PGFAULT_PERM_READ, IOMMU_PGFAULT_PERM_WRITE } from "../../uapi/iommufd-viommu.ts";
import type { Attachment } from "../devices/attachment.ts";
import type { PageTable } from "../devices/page-table.ts";
import type { PasidHardware } from "./pasid-hardware.ts";

/** Canonical addresses of four-level tables end here, the lower half. */
const LOWER_HALF = 1n << 47n;

const BLOCKED = new NoTarget("the device is attached with PASIDs only: its requests without one are blocked");

/** What a group is attached to with a PASID, or without (NO_PASID), now. */
export type AttachmentOf = (pasid: number) => Attachment | undefined;

/** A group's devices as requesters of an iommufd, with their entries in the IOMMUs' PASID tables. */
export class PasidPlaces {
  readonly #hardware: PasidHardware;
  readonly #requesters: readonly Requester[];
  readonly #attachmentOf: AttachmentOf;
  /** How many PASIDs there are. */
  readonly #pasids: number;
  readonly #places = new Map<number, readonly Place[]>();

  /**
   * @param devices those of the group that have entries of their own: a mediated device has none, its parent's are
   * others'
   * @param pasidBits of the PASIDs that the IOMMU takes
   */
  constructor(
    hardware: PasidHardware,
    owner: DmaOwner,
    devices: readonly RequesterIdentity[],
    attachmentOf: AttachmentOf,
    pasidBits: number,
  ) {
    this.#pasids = pasidBits > 0 ? 2 ** pasidBits : 0;
    this.#hardware = hardware;
    this.#attachmentOf = attachmentOf;
    this.#requesters = devices.map((identity) => hardware.iommus.connect(identity, owner, BLOCKED));
  }

  requester(name: string): Requester | undefined {
    return this.#requesters.find(({ identity }) => identity.name === name);
  }

  /** PASIDs from this one on are no device's. */
  get pasidEnd(): number {
    return this.#pasids;
  }

  /** The devices that an attach concerns: with a PASID, those that have PASIDs. */
  devices(pasid: number): readonly RequesterIdentity[] {
    return this.#concerned(pasid).map(({ identity }) => identity);
  }

  /**
   * Enters a page table for all devices or for none. EBUSY, ENOSPC, EINVAL for a guest's table that the IOMMU cannot
   * walk.
   */
  enter(pageTable: PageTable, pasid: number): void {
    const domain = pageTable.domainIn(this.#hardware.iommus);
    const places: Place[] = [];
    try {
      for (const requester of this.#concerned(pasid)) {
        places.push(domain.attach(requester, pasid, (page, answered) => this.#ask(requester, pasid, page, answered)));
      }
    } catch (error) {
      for (const place of places.reverse()) place.leave();
      throw error;
    }
    for (const place of places) place.requester.bind(pasid, place);
    this.#places.set(pasid, places);
  }

  leave(pasid: number): void {
    for (const place of this.#places.get(pasid) ?? []) {
      place.requester.unbind(pasid, place);
      place.leave();
    }
    this.#places.delete(pasid);
  }

  /**
   * Enters another page table in the place of the one that is there. Errors as enter(), and then nothing has changed.
   */
  move(pageTable: PageTable, pasid: number): void {
    const domain = pageTable.domainIn(this.#hardware.iommus);
    const reserved: (() => void)[] = [];
    try {
      for (const requester of this.#concerned(pasid)) reserved.push(domain.reserve(requester, pasid));
      this.leave(pasid);
      this.enter(pageTable, pasid);
    } finally {
      for (const end of reserved) end();
    }
  }

  /**
   * Where requests without a PASID go: to the page table's own DMA; through the IOMMU's PASID table where they may miss
   * there, or what is remembered may be stale; or nowhere.
   */
  lead(plain: PageTable | undefined): void {
    const places = this.#places.get(NO_PASID) ?? [];
    for (const requester of this.#requesters) {
      requester.plain = plain ? plainTarget(plain, requester, places) : BLOCKED;
    }
  }

  /**
   * A device that is attached without a PASID sends an interrupt message.
   * @returns whether it arrives
   */
  sendMessage(name: string, doorbell: bigint, message: Uint8Array): boolean {
    const place = this.#places.get(NO_PASID)?.find(({ requester }) => requester.identity.name === name);
    return place?.sendMessage?.(doorbell, message) ?? true;
  }

  /** The devices leave the iommufd. */
  close(): void {
    for (const pasid of [...this.#places.keys()]) this.leave(pasid);
    for (const requester of this.#requesters) this.#hardware.iommus.disconnect(requester);
  }

  #concerned(pasid: number): readonly Requester[] {
    if (pasid === NO_PASID) return this.#requesters;
    return this.#pasids === 0 ? [] : this.#requesters.filter(({ identity }) => identity.pasid);
  }

  /**
   * A device asks for a page: the request goes to the fault queue of what it is attached to, and is refused where that
   * has no queue, and where the driver takes no such request (intel/prq.c:prq_event_thread,
   * io-pgfault.c:iommu_report_device_fault).
   */
  #ask(
    { identity }: Requester,
    pasid: number,
    { address, write, privileged }: WantedPage,
    answered: (granted: boolean) => void,
  ): void {
    const attachment = this.#attachmentOf(pasid);
    const group = this.#hardware.nextGroup(identity);
    const queue = attachment?.pageTable.fault;
    const isCanonical = address < LOWER_HALF || address >= 2n ** 64n - LOWER_HALF;
    if (!attachment || !queue || privileged || !isCanonical) {
      answered(false);
      return;
    }
    const { handle } = attachment;
    const permissions = write ? IOMMU_PGFAULT_PERM_WRITE : IOMMU_PGFAULT_PERM_READ;
    const carried = pasid === NO_PASID ? undefined : pasid;
    const { id: deviceId } = handle.device;
    queue.raise({ handle, deviceId, pasid: carried, responseNeedsPasid: true, group, permissions, address, answered });
  }
}

function plainTarget(plain: PageTable, requester: Requester, places: readonly Place[]): DmaTarget {
  if (!plain.isTranslatedByTable) return plain.paging.dma;
  const place = places.find((each) => each.requester === requester);
  return place?.reach({ pasid: NO_PASID, privileged: false, ats: true }) ?? BLOCKED;
}
