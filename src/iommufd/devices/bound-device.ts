import type { DmaGroup } from "../../iommu/dma-group.ts";
import { NO_PASID } from "../../iommu/domain.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { fail, KernelError } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import { IommufdObject } from "../object-table.ts";
import type { AttachedDevice, Attachment } from "./attachment.ts";
import type { Binding, PasidBinding } from "./binding.ts";
import { GroupAttachment } from "./group-attachment.ts";
import { Hwpt } from "./hwpt.ts";
import { PageTable } from "./page-table.ts";

/** What an ida takes (drivers/vfio/iommufd.c keeps a device's PASIDs in one). */
const LAST_PASID = 2 ** 31 - 1;

/** A device that an iommufd has (struct iommufd_device). Its driver uses it, so that DESTROY is EBUSY. */
export class BoundDevice extends IommufdObject implements Binding, AttachedDevice {
  readonly name: string;
  readonly group: DmaGroup;
  readonly unit: IommuUnit;
  readonly #context: IommufdContext;
  readonly #groupAttachment: GroupAttachment;
  /** Attached for requests without a PASID (vfio_device.iommufd_attached). */
  #isAttached = false;
  /** With which PASIDs (vfio_device.pasids). */
  readonly #pasids = new Set<number>();
  readonly pasids: PasidBinding = {
    attach: (task, pasid, id) => this.#attachPasid(task, pasid, id),
    detach: (pasid) => this.#detachPasid(pasid),
  };

  /** Its number in a virtual IOMMU. */
  vdevice: IommufdObject | undefined;
  readonly #keepsContext: boolean;

  /**
   * Use create(), which checks.
   * @param keepsContext false for a device that goes with the iommufd
   */
  constructor(context: IommufdContext, name: string, group: DmaGroup, unit: IommuUnit, keepsContext = true) {
    super();
    this.#keepsContext = keepsContext;
    this.name = name;
    this.group = group;
    this.unit = unit;
    this.#context = context;
    context.objects.add(this);
    const { id } = group.iommuGroup;
    this.#groupAttachment = context.groups.get(id) ?? new GroupAttachment(context, context.module, group, unit);
    context.groups.set(id, this.#groupAttachment);
    if (keepsContext) context.get();
    this.users++;
  }

  /**
   * device.c:iommufd_device_bind
   * @throws KernelError EPERM (interrupts are not isolated; somebody else has the group), EINVAL (firmware has)
   */
  static create(
    context: IommufdContext,
    name: string,
    group: DmaGroup,
    unit: IommuUnit,
    keepsContext = true,
  ): BoundDevice {
    const { booleanParameter, release } = context.module.context;
    if (!unit.isolatedMsi && !booleanParameter("iommufd/allow_unsafe_interrupts")) {
      fail(
        "EPERM",
        `${unit.label} does not remap interrupts, so ${name} could fake them; set iommufd.allow_unsafe_interrupts=1 to accept that`,
      );
    }
    group.claim(context, release);
    try {
      return new BoundDevice(context, name, group, unit, keepsContext);
    } catch (error) {
      group.unclaim(context);
      throw error;
    }
  }

  get label(): string {
    return `device ${this.name}`;
  }

  /** Its driver leaves DMA to the IOMMU. */
  get memory(): undefined {
    return undefined;
  }

  /**
   * Attaches the device, or moves it when it is attached (device.c:iommufd_device_attach, iommufd_device_replace).
   * @param id an address space, for which a page table is found or made, or a page table
   * @returns the page table's id
   * @throws KernelError ENOENT, EINVAL, EADDRINUSE, EFAULT, ENOMEM, ENODEV
   */
  attach(task: Task, id: number): number {
    return this.#change(task, id, NO_PASID, this.#isAttached);
  }

  /**
   * The same for requests with a PASID (drivers/vfio/iommufd.c:vfio_iommufd_physical_pasid_attach_ioas). Number 0 is
   * what the kernel takes requests without one for: it is attached when nothing else is.
   */
  #attachPasid(task: Task, pasid: number, id: number): number {
    if (pasid > LAST_PASID) fail("ENOSPC", `PASID ${pasid} is beyond 2^31`);
    const attached = this.#change(task, id, pasid, this.#pasids.has(pasid));
    this.#pasids.add(pasid);
    if (pasid === NO_PASID) this.#isAttached = false;
    return attached;
  }

  /** device.c:iommufd_device_detach. Nothing when it is not attached. */
  detach(): void {
    if (!this.#isAttached) return;
    this.#isAttached = false;
    this.#leave(this.#groupAttachment.detach(this, NO_PASID));
  }

  #detachPasid(pasid: number): void {
    if (this.#pasids.delete(pasid)) this.#leave(this.#groupAttachment.detach(this, pasid));
  }

  /** The driver lets go: device.c:iommufd_device_unbind. */
  unbind(): void {
    for (const pasid of [...this.#pasids].sort((a, b) => a - b)) this.#detachPasid(pasid);
    this.detach();
    if (this.vdevice) this.#context.objects.bury(this.vdevice);
    this.users--;
    this.#context.objects.destroy(this);
    const { groups, objects } = this.#context;
    const { id } = this.group.iommuGroup;
    const isNeeded = [...objects].some((object) => object instanceof BoundDevice && object.group === this.group);
    if (!isNeeded) {
      this.#groupAttachment.close();
      groups.delete(id);
    }
    if (this.#keepsContext) this.#context.put();
  }

  destroy(): void {
    this.group.unclaim(this.#context);
  }

  /** The address space that its requests without a PASID reach. */
  get space(): object | undefined {
    return this.attachmentOf(NO_PASID)?.pageTable.paging.ioas;
  }

  /** What it is attached to with a PASID, or without (NO_PASID). */
  attachmentOf(pasid: number): Attachment | undefined {
    return this.#groupAttachment.attachmentOf(pasid);
  }

  /**
   * What a driver asks for: an attach of what must not be attached, or a move of what must be (device.c:
   * iommufd_device_attach, iommufd_device_replace). As attach(); EBUSY, EINVAL.
   */
  change(task: Task, id: number, pasid: number, moves: boolean): number {
    const attached = this.#change(task, id, pasid, moves);
    if (pasid !== NO_PASID) this.#pasids.add(pasid);
    return attached;
  }

  /** Nothing when it is not attached with that PASID. */
  detachFrom(pasid: number): void {
    if (pasid === NO_PASID) this.detach();
    else this.#detachPasid(pasid);
  }

  /** device.c:iommufd_device_change_pt */
  #change(task: Task, id: number, pasid: number, moves: boolean): number {
    const target = this.#context.objects.get(id) ?? fail("ENOENT", `there is no object with id ${id}`);
    const group = this.#groupAttachment;
    const change: Change = {
      moves,
      pasid,
      to: (table) => (moves ? group.replace(this, table, pasid) : void group.attach(this, table, pasid)),
    };
    const attached = target instanceof Ioas ? this.#attachToIoas(task, target, change) : this.#attachTo(target, change);
    if (pasid === NO_PASID) this.#isAttached = true;
    return attached;
  }

  #attachTo(target: IommufdObject, change: Change): number {
    if (!(target instanceof PageTable)) {
      fail("EINVAL", `a device is attached to an ioas or a hwpt, not to ${target.label}`);
    }
    this.#leave(change.to(target));
    return target.id;
  }

  /** device.c:iommufd_device_auto_get_domain: any page table that was made for an attach will do. */
  #attachToIoas(task: Task, ioas: Ioas, change: Change): number {
    for (const hwpt of ioas.hwpts) {
      if (!hwpt.auto) continue;
      try {
        this.#leave(change.to(hwpt));
        return hwpt.id;
      } catch (error) {
        // EINVAL: this one does not fit the device
        if (!(error instanceof KernelError) || error.code !== "EINVAL") throw error;
      }
    }
    const hwpt = new Hwpt(ioas, this.unit, 0);
    const { objects } = this.#context;
    let left: PageTable | undefined;
    let isNew = false;
    try {
      objects.add(hwpt);
      // a new device is attached first, and its reserved regions count; one that moves finds the page table complete
      if (!change.moves) {
        change.to(hwpt);
        isNew = true;
      }
      hwpt.join(task);
      if (change.moves) left = change.to(hwpt);
    } catch (error) {
      if (isNew) this.#groupAttachment.detach(this, change.pasid);
      objects.destroy(hwpt);
      throw error;
    }
    hwpt.auto = true;
    this.#leave(left);
    return hwpt.id;
  }

  /** A page table that was made for an attach goes with its last device. */
  #leave(hwpt: PageTable | undefined): void {
    if (hwpt?.auto && hwpt.users === 0) this.#context.objects.destroy(hwpt);
  }
}

interface Change {
  /** The device is attached already. */
  readonly moves: boolean;
  readonly pasid: number;
  /** Returns what the device has left. */
  to(hwpt: PageTable): PageTable | undefined;
}
