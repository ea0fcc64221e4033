import type { DmaGroup } from "../iommu/dma-group.ts";
import type { IommuGroup } from "../iommu/group.ts";
import type { DmaOwner } from "../iommu/requester.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";
import type { MediatedAccess } from "./backend.ts";
import type { Container } from "./container.ts";
import type { VfioDevice } from "./device.ts";
import type { GroupIommufd, IommufdBinding } from "./iommufd.ts";

/** Who opened a group. */
export type GroupHolder = Pick<Task, "name" | "pid">;

/**
 * Who has a group, and through what (the fields opened_file, container, iommufd and cdev_device_open_cnt of struct
 * vfio_group). Its file and the nodes of its devices exclude each other.
 */
export type GroupUse =
  | { readonly by: "nobody" }
  /** Its file is open, and it is in nothing. */
  | { readonly by: "file"; readonly holder: GroupHolder }
  | {
      readonly by: "container";
      readonly holder: GroupHolder;
      readonly container: Container;
      /** Device files that were opened through the group. They keep it in use after its own file is closed. */
      readonly openDevices: number;
      readonly isFileClosed: boolean;
    }
  | { readonly by: "iommufd"; readonly holder: GroupHolder; readonly iommufd: GroupIommufd }
  /** So many devices of it are open through their own nodes. */
  | { readonly by: "nodes"; readonly open: number };

/** A device that an iommufd has (vfio_device.iommufd_device). */
export interface IommufdDevice extends IommufdBinding {
  readonly iommufd: DmaOwner;
  /** It was opened through its own node, not through its group (vfio_device_cdev_opened). */
  readonly ownNode: boolean;
}

const FREE: GroupUse = { by: "nobody" };

/** A group that VFIO drivers are bound to devices of (struct vfio_group). */
export class VfioGroup {
  /** The same group as the IOMMU has it. */
  readonly dma: DmaGroup;
  readonly devices: VfioDevice[] = [];
  #use: GroupUse = FREE;
  /** Devices of it that an iommufd has, by name. They can stay open longer than the group is in the iommufd. */
  readonly #inIommufd = new Map<string, IommufdDevice>();
  #isGone = false;

  constructor(dma: DmaGroup) {
    this.dma = dma;
  }

  get iommuGroup(): IommuGroup {
    return this.dma.iommuGroup;
  }

  get label(): string {
    return this.dma.label;
  }

  get use(): GroupUse {
    return this.#use;
  }

  /** The last driver let go while the group's file was open. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Who has the group's file open, or a device file that was opened through it: one user at a time. */
  get holder(): GroupHolder | undefined {
    return "holder" in this.#use ? this.#use.holder : undefined;
  }

  /** For messages: "process qemu-system-x86, pid 4711"; who opened it has perhaps given it to another process since. */
  describeHolder(): string {
    return this.holder ? `process ${this.holder.name}, pid ${this.holder.pid}` : "nobody";
  }

  get container(): Container | undefined {
    return this.#use.by === "container" ? this.#use.container : undefined;
  }

  /** Whether it is in a container, or in an iommufd in its place (vfio_group_has_iommu). */
  get isInContainer(): boolean {
    return this.#use.by === "container" || this.#use.by === "iommufd";
  }

  /** A device of it that an iommufd has. */
  inIommufd(device: string): IommufdDevice | undefined {
    return this.#inIommufd.get(device);
  }

  /** How the driver of a mediated device reaches memory now. Undefined where nothing lets it. */
  mediatedAccess(device: string): MediatedAccess | undefined {
    return this.container?.backend?.mediated ?? this.#inIommufd.get(device)?.memory;
  }

  /** The group's file is opened. The group is free. */
  fileOpened(holder: GroupHolder): void {
    this.#expect("nobody");
    this.#use = { by: "file", holder };
  }

  /** The group's file is closed. With device files open that came from it, everything goes on. */
  fileClosed(): void {
    const use = this.#use;
    if (use.by === "container" && use.openDevices > 0) this.#use = { ...use, isFileClosed: true };
    else this.#free();
  }

  /** Goes into a container. Throws as Container.attach(), and then nothing has changed. */
  enterContainer(task: Task, container: Container): void {
    const { holder } = this.#expect("file");
    container.attach(task, this.dma);
    this.#use = { by: "container", holder, container, openDevices: 0, isFileClosed: false };
  }

  /** Goes into an iommufd. Throws as GroupIommufd.take(), and then nothing has changed. */
  enterIommufd(iommufd: GroupIommufd): void {
    const { holder } = this.#expect("file");
    iommufd.take(this.iommuGroup);
    this.#use = { by: "iommufd", holder, iommufd };
  }

  /** Leaves the container or the iommufd that it is in; its file stays open. */
  leave(): void {
    const use = this.#use;
    if (use.by === "container") use.container.detach(this.dma);
    else if (use.by === "iommufd") use.iommufd.letGo();
    else return;
    this.#use = { by: "file", holder: use.holder };
  }

  /**
   * The last driver is gone, and the group's node with it, also from under who has it open. An iommufd goes with the
   * file only.
   */
  driversGone(): void {
    if (this.#use.by === "container") this.leave();
    this.#isGone = true;
  }

  /** Opens a device for the container that the group is in. */
  openInContainer(task: Task, device: VfioDevice): FileDescription {
    const file = device.open(task, () => this.#deviceClosed());
    const use = this.#expect("container");
    this.#use = { ...use, openDevices: use.openDevices + 1 };
    return file;
  }

  /** Opens a device through an iommufd: with the first open it is bound and attached, with the last close that ends. */
  openInIommufd(task: Task, iommufd: GroupIommufd, device: VfioDevice): FileDescription {
    if (!device.isOpen) {
      const binding = iommufd.openDevice(task, this.dma, device.name);
      if (binding) this.#inIommufd.set(device.name, { ...binding, iommufd: iommufd.owner, ownNode: false });
    }
    return device.open(task, () => {
      if (!device.isOpen) this.#endIommufd(device);
    });
  }

  /** Opens a device that was bound to an iommufd through its own node. */
  openByNode(task: Task, iommufd: DmaOwner, device: VfioDevice, binding: IommufdBinding): FileDescription {
    const use = this.#use.by === "nodes" ? this.#use : this.#expect("nobody");
    this.#inIommufd.set(device.name, { ...binding, iommufd, ownNode: true });
    this.#use = { by: "nodes", open: use.by === "nodes" ? use.open + 1 : 1 };
    return device.open(task, () => {
      this.#endIommufd(device);
      const { open } = this.#expect("nodes");
      this.#use = open > 1 ? { by: "nodes", open: open - 1 } : FREE;
    });
  }

  #endIommufd({ name }: VfioDevice): void {
    this.#inIommufd.get(name)?.end();
    this.#inIommufd.delete(name);
  }

  #deviceClosed(): void {
    const use = this.#expect("container");
    const openDevices = use.openDevices - 1;
    this.#use = { ...use, openDevices };
    if (use.isFileClosed && openDevices === 0) this.#free();
  }

  #free(): void {
    this.leave();
    this.#use = FREE;
  }

  #expect<By extends GroupUse["by"]>(by: By): Extract<GroupUse, { readonly by: By }> {
    if (this.#use.by !== by) throw new Error(`${this.label} is used by ${this.#use.by}, not by ${by}`);
    return this.#use as Extract<GroupUse, { readonly by: By }>;
  }
}
