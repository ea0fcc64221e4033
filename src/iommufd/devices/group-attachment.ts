import type { DmaGroup } from "../../iommu/dma-group.ts";
import { NoTarget } from "../../iommu/dma-target.ts";
import { NO_PASID } from "../../iommu/domain.ts";
import { binds, groupLabel } from "../../iommu/group.ts";
import { type DmaOwner, PASID_BITS, type RequesterIdentity } from "../../iommu/requester.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { fail, hexRange } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { Requesters } from "../../vfio/requesters.ts";
import type { IommufdModule } from "../module.ts";
import { PasidPlaces } from "../nesting/pasid-places.ts";
import { type AttachedDevice, Attachment } from "./attachment.ts";
import { checkCompatible } from "./compatible.ts";
import { DoorbellMessages } from "./doorbell-messages.ts";
import type { PageTable, PagingTable } from "./page-table.ts";

const NO_AUX_DOMAIN = new NoTarget("an iommufd gives a mediated device no PASID of its parent's, nor one of its own");

/**
 * An IOMMU group as one iommufd has it (struct iommufd_group): for each PASID, and without one, all devices in it are
 * attached to the same page table.
 */
export class GroupAttachment {
  readonly group: DmaGroup;
  readonly #attachments = new Map<number, Attachment>();
  /** The devices in the IOMMUs' PASID tables, where they have any. */
  readonly #places: PasidPlaces | undefined;
  readonly #requesters: Requesters;
  /** Interrupt messages, where the IOMMU translates them. */
  readonly #messages: DoorbellMessages | undefined;
  readonly #warn: (message: string) => void;

  constructor(
    owner: DmaOwner,
    { context, requesters, pasidHardware }: IommufdModule,
    group: DmaGroup,
    unit: IommuUnit,
  ) {
    this.group = group;
    this.#requesters = requesters;
    this.#warn = context.warn;
    this.#messages = this.#makeMessages(unit, context.release.has("softwareMsi"));
    if (!pasidHardware || !unit.secondStage) return;
    const { pasidBits = PASID_BITS } = unit.iommufd;
    const devices = group.iommuGroup.deviceNames.map((name) => requesters.find(name));
    const own = devices.filter((device) => device !== undefined && !device.isMediated) as RequesterIdentity[];
    this.#places = new PasidPlaces(pasidHardware, owner, own, (pasid) => this.#attachments.get(pasid), pasidBits);
  }

  #makeMessages({ doorbell }: IommuUnit, needsAttachment: boolean): DoorbellMessages | undefined {
    if (doorbell === undefined) return undefined;
    const messages = new DoorbellMessages({
      needsAttachment,
      attached: () => this.#attachments.get(NO_PASID)?.pageTable,
      send: (name, message) => this.#places?.sendMessage(name, doorbell, message) ?? true,
    });
    for (const name of this.group.iommuGroup.deviceNames) this.group.port(name).messages = messages.of(name);
    return messages;
  }

  /** For messages: "group 12". */
  get label(): string {
    return this.group.label;
  }

  /** The last device of the group leaves the iommufd. */
  close(): void {
    this.group.disconnect();
    if (this.#messages)
      for (const name of this.group.iommuGroup.deviceNames) this.group.port(name).messages = undefined;
    this.#places?.close();
  }

  isAttached(device: AttachedDevice, pasid: number): boolean {
    return this.#attachments.get(pasid)?.devices.has(device) ?? false;
  }

  /** What the group is attached to with a PASID, or without (0). */
  attachmentOf(pasid: number): Attachment | undefined {
    return this.#attachments.get(pasid);
  }

  /**
   * device.c:iommufd_hw_pagetable_attach. EINVAL for another page table than the group's, or one that its IOMMU cannot
   * walk, or with PASIDs where a page table was not made for them; EADDRINUSE; EBUSY; ENODEV for page requests that a
   * device cannot make.
   */
  attach(device: AttachedDevice, pageTable: PageTable, pasid: number): void {
    const old = this.#attachments.get(pasid);
    if (old?.devices.has(device)) fail("EBUSY", `${device.label} is attached to ${old.pageTable.label} already`);
    if (old && device.unit.attachesOneDevice) {
      fail(
        "EINVAL",
        `another device of ${this.group.label} is attached, and behind ${device.unit.label} this kernel attaches one of a group; detach that first`,
      );
    }
    if (old && old.pageTable !== pageTable) {
      fail("EINVAL", `${this.group.label} is attached to ${old.pageTable.label}; all its devices share that`);
    }
    faultPoint("failslab");
    const { ioas } = pageTable.paging;
    if (pasid === NO_PASID) reserveFor(device, ioas);
    try {
      if (!old) {
        faultPoint("failslab");
        if (pasid === NO_PASID) this.#messages?.attaching(pageTable);
        checkCompatible(this, device, pageTable, pasid, this.#places);
        this.#places?.enter(pageTable, pasid);
      }
    } catch (error) {
      if (pasid === NO_PASID) ioas.table.unreserve(device);
      throw error;
    }
    const attachment = old ?? new Attachment(pageTable, device);
    attachment.devices.add(device);
    pageTable.users++;
    if (old) return;
    this.#attachments.set(pasid, attachment);
    this.#translate();
  }

  /** device.c:iommufd_device_do_replace: moves the whole group. Returns the page table that it leaves. */
  replace(device: AttachedDevice, pageTable: PageTable, pasid: number): PageTable | undefined {
    const attachment = this.#attachments.get(pasid);
    if (!attachment?.devices.has(device)) fail("EINVAL", `${device.label} is not attached`);
    const { pageTable: old, devices } = attachment;
    if (pageTable === old) return undefined;
    const [to, from] = [pageTable.paging.ioas, old.paging.ioas];
    const moves = pasid === NO_PASID && to !== from;
    try {
      if (moves) for (const each of devices) reserveFor(each, to);
      faultPoint("failslab");
      if (pasid === NO_PASID) this.#messages?.attaching(pageTable);
      checkCompatible(this, device, pageTable, pasid, this.#places);
      this.#places?.move(pageTable, pasid);
    } catch (error) {
      if (moves) for (const each of devices) to.table.unreserve(each);
      else if (pasid === NO_PASID) this.#loseReserved(from, devices);
      throw error;
    }
    if (moves) for (const each of devices) from.table.unreserve(each);
    pageTable.users += devices.size;
    old.users -= devices.size;
    const handle = attachment.move(pageTable, device);
    this.#translate();
    old.fault?.refuseAll(handle);
    return old;
  }

  /**
   * device.c:iommufd_hw_pagetable_detach. Returns the page table that the device leaves; undefined when it is not
   * attached.
   */
  detach(device: AttachedDevice, pasid: number): PageTable | undefined {
    const attachment = this.#attachments.get(pasid);
    if (!attachment?.devices.delete(device)) return undefined;
    const { pageTable, devices, handle } = attachment;
    if (pasid === NO_PASID) pageTable.paging.ioas.table.unreserve(device);
    pageTable.users--;
    if (devices.size > 0) return pageTable;
    this.#attachments.delete(pasid);
    this.#places?.leave(pasid);
    this.#translate();
    pageTable.fault?.refuseAll(handle);
    return pageTable;
  }

  /** The PASIDs that a device is attached with, in order; without the attachment that has none. */
  pasidsOf(device: AttachedDevice): number[] {
    const pasids = [...this.#attachments.keys()].filter(
      (pasid) => pasid !== NO_PASID && this.isAttached(device, pasid),
    );
    return pasids.sort((a, b) => a - b);
  }

  get hasPasids(): boolean {
    return [...this.#attachments.keys()].some((pasid) => pasid !== NO_PASID);
  }

  /**
   * A replace within one address space adds no reserved ranges, and takes them away when it fails: the group stays
   * attached without (device.c:iommufd_device_do_replace; recorded, sm_replace_failed_window).
   */
  #loseReserved({ table }: PagingTable["ioas"], devices: Iterable<AttachedDevice>): void {
    const before = table.reserved.length;
    for (const each of devices) table.unreserve(each);
    if (table.reserved.length === before) return;
    this.#warn(
      `a replace that failed has taken the reserved ranges of ${this.label} from its address space, as the kernel does (iommufd_device_do_replace); they come back with a detach and an attach`,
    );
  }

  #translate(): void {
    const { group } = this;
    if (this.#attachments.size === 0) {
      group.disconnect();
      return;
    }
    const plain = this.#attachments.get(NO_PASID)?.pageTable;
    const places = this.#places;
    places?.lead(plain);
    const dma = plain?.paging.dma;
    group.connect((name) => {
      if (this.#requesters.find(name)?.isMediated) return NO_AUX_DOMAIN;
      return places ? places.requester(name) : dma;
    });
  }
}

/** io_pagetable.c:iopt_table_enforce_dev_resv_regions: all of the device's regions or none. */
function reserveFor(device: AttachedDevice, { table }: PagingTable["ioas"]): void {
  const { iommuGroup } = device.group;
  try {
    for (const { start, last, type } of iommuGroup.reservedRegions.filter(binds)) {
      const label = `the reserved range ${hexRange(start, last)} (${type}) of ${groupLabel(iommuGroup)}`;
      table.reserve({ start, last, owner: device, label, what: type, of: groupLabel(iommuGroup) });
    }
  } catch (error) {
    table.unreserve(device);
    throw error;
  }
}
