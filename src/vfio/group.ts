import type { DeviceDma } from "../iommu/dma-target.ts";
import { groupLabel, type IommuGroup } from "../iommu/group.ts";
import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { Release } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import type { MediatedAccess } from "./backend.ts";
import type { Container } from "./container.ts";
import type { VfioDevice } from "./device.ts";
import { DevicePort } from "./device-port.ts";
import type { GroupIommufd } from "./iommufd.ts";

/** Who else has drivers bound to devices of a group: decides whether user space may own it. */
export interface GroupOwnership {
  /** The devices and drivers that keep the group from user space, "0000:04:02.0 (uio_pci_generic)"; none when nothing does. */
  hostDriversIn(group: IommuGroup): readonly string[];
}

/** A device that an iommufd has (vfio_device.iommufd_device). */
export interface IommufdDevice {
  readonly iommufd: object;
  /** Its object's id there. */
  readonly id: number;
  /** It was opened through its own node, not through its group (vfio_device_cdev_opened). */
  readonly ownNode: boolean;
}

/** Who opened a group. */
export type GroupHolder = Pick<Task, "name" | "pid">;

/** An IOMMU group with VFIO drivers bound to devices in it (struct vfio_group). */
export class VfioGroup {
  readonly iommuGroup: IommuGroup;
  readonly devices: VfioDevice[] = [];
  container: Container | undefined;
  /** The iommufd that it is in instead of a container. */
  iommufd: GroupIommufd | undefined;
  /** How drivers of its mediated devices reach memory, by the device's name, while an iommufd has them. */
  readonly mediated = new Map<string, MediatedAccess>();
  /** Device files open through this group. */
  openDevices = 0;
  /** Who has the group file open, or a device file that was opened through it: one user at a time. */
  holder: GroupHolder | undefined;
  /** Devices of it that an iommufd has, by name. */
  readonly inIommufd = new Map<string, IommufdDevice>();
  /** The last driver let go while the group file was open. */
  isGone = false;
  readonly #ownership: GroupOwnership;
  /** Of every device, whatever driver it has now. */
  readonly #ports: ReadonlyMap<string, DevicePort>;
  /** For devices opened through an iommufd: what their last close calls. */
  readonly #closers = new Map<VfioDevice, () => void>();
  #owner: object | undefined;
  #claims = 0;

  constructor(iommuGroup: IommuGroup, ownership: GroupOwnership) {
    this.iommuGroup = iommuGroup;
    this.#ownership = ownership;
    this.#ports = new Map(iommuGroup.deviceNames.map((name) => [name, new DevicePort()]));
  }

  /** Where a device's DMA leaves it. */
  port(device: string): DevicePort {
    return this.#ports.get(device) ?? fail("ENODEV", `${device} is not in ${this.label}`);
  }

  /** The group was attached: from now on each device's DMA goes where `reach` says, asked once for each. */
  connect(reach: (device: string) => DeviceDma | undefined): void {
    for (const [name, port] of this.#ports) port.connect(reach(name));
  }

  /** The group is detached: its devices reach nothing. */
  disconnect(): void {
    this.connect(() => undefined);
  }

  get label(): string {
    return `group ${this.iommuGroup.id}`;
  }

  /** Whether it is in a container, or in an iommufd in its place (vfio_group_has_iommu). */
  get isInContainer(): boolean {
    return this.container !== undefined || this.iommufd !== undefined;
  }

  /** For messages: "process qemu-system-x86, pid 4711"; who opened it has perhaps given it to another process since. */
  describeHolder(): string {
    return this.holder ? `process ${this.holder.name}, pid ${this.holder.pid}` : "nobody";
  }

  /** Whether a device is open through its own node: then the group itself cannot be opened (cdev_device_open_cnt). */
  get hasOpenNodes(): boolean {
    for (const { ownNode } of this.inIommufd.values()) if (ownNode) return true;
    return false;
  }

  /** Whether user space owns the group's DMA. */
  get isClaimed(): boolean {
    return this.#owner !== undefined;
  }

  isOwnedBy(owner: object): boolean {
    return this.#owner === owner;
  }

  /** Whether user space may own the group now (iommu_group_dma_owner_claimed). */
  get isViable(): boolean {
    return this.iommuGroup.kind !== "iommu" || (!this.isClaimed && this.hasOnlyOurDrivers);
  }

  /** Whether no driver of the host has a device of it (vfio.c:vfio_group_viable, before groups had owners). */
  get hasOnlyOurDrivers(): boolean {
    return this.iommuGroup.kind !== "iommu" || this.#ownership.hostDriversIn(this.iommuGroup).length === 0;
  }

  /** Why the group is not viable: every driver that is in the way. */
  describeHostDrivers(): string {
    const drivers = this.#ownership.hostDriversIn(this.iommuGroup);
    const one = drivers.length === 1;
    return `${this.label} is not viable: ${drivers.join(", ")} ${one ? "belongs" : "belong"} to the host; unbind ${one ? "it" : "each"} or bind it to vfio-pci`;
  }

  /**
   * Takes the group for a container or an iommufd, or says who has it (iommu_group_claim_dma_owner, iommu_device_claim_dma_owner). An owner may
   * take it several times. EPERM, EINVAL.
   */
  claim(owner: object, release: Release): void {
    if (this.iommuGroup.kind !== "iommu") return;
    if (this.#owner !== undefined) {
      if (this.#owner !== owner) fail("EPERM", `${this.label} belongs to another container or iommufd`);
      this.#claims++;
      return;
    }
    if (release.has("groupOwnership") && !this.hasOnlyOurDrivers) fail("EPERM", this.describeHostDrivers());
    const direct = this.iommuGroup.reservedRegions.find((region) => region.type === "direct");
    if (direct && release.has("directRegionsRefused")) {
      fail(
        "EINVAL",
        `firmware needs 0x${direct.start.toString(16)}-0x${direct.last.toString(16)} of ${groupLabel(this.iommuGroup)} mapped 1:1 (reserved region of type direct), so that it cannot be given to user space`,
      );
    }
    this.#owner = owner;
    this.#claims = 1;
  }

  /** Gives back what claim() took. */
  unclaim(owner: object): void {
    if (this.#owner !== owner || --this.#claims > 0) return;
    this.#owner = undefined;
  }

  /** Lets the container go that it is in. An iommufd goes with the group's file only, or when it is told to. */
  leaveContainer(): void {
    this.container?.detach(this);
  }

  leaveIommufd(): void {
    this.iommufd?.letGo(this);
    this.iommufd = undefined;
  }

  /** Opens a device through an iommufd: with the first open it is bound and attached, with the last close that ends. */
  openThroughIommufd(task: Task, iommufd: GroupIommufd, device: VfioDevice): FileDescription {
    if (!device.isOpen) this.#closers.set(device, iommufd.openDevice(task, this, device));
    return device.open(task, () => {
      if (device.isOpen) return;
      this.#closers.get(device)?.();
      this.#closers.delete(device);
    });
  }

  /** The group file and all device files opened through it are closed. */
  lastFileClosed(): void {
    this.leaveContainer();
    this.leaveIommufd();
    this.holder = undefined;
  }
}
