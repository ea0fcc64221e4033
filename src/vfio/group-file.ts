import { fail, hex } from "../kernel/errors.ts";
import { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VfioGroupStatus,
} from "../uapi/vfio.ts";
import { Container } from "./container.ts";
import type { VfioDevice } from "./device.ts";
import type { VfioGroup } from "./group.ts";
import { IommufdDescription } from "./iommufd.ts";
import { UserStruct } from "./user-struct.ts";

/** strndup_user() of a device name takes at most a page, whatever the kernel's page size is on the machines modelled. */
const NAME_MAX = 4096;

const user = new UserStruct(VfioGroupStatus.size);

/** An open /dev/vfio/N. */
export class GroupFile extends FileDescription {
  override readonly kind = "group";
  readonly group: VfioGroup;
  #closed = false;

  constructor(group: VfioGroup) {
    super();
    this.group = group;
    group.isOpen = true;
  }

  override get label(): string {
    return this.group.label;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    switch (request) {
      case VFIO_GROUP_GET_STATUS:
        return this.#getStatus(task, arg);
      case VFIO_GROUP_SET_CONTAINER:
        return this.#setContainer(task, arg);
      case VFIO_GROUP_UNSET_CONTAINER:
        return this.#unsetContainer();
      case VFIO_GROUP_GET_DEVICE_FD:
        return this.#getDeviceFd(task, arg);
      default:
        fail("ENOTTY", `a group knows no request ${hex(request)}`);
    }
  }

  override release(): void {
    this.#closed = true;
    // device files keep the group file alive: with one open, everything goes on
    if (this.group.openDevices === 0) this.group.lastFileClosed();
  }

  /** A device file that was opened through this group is closed. */
  #deviceClosed(): void {
    this.group.openDevices--;
    // devices keep the group open after its own descriptor is closed
    if (this.#closed && this.group.openDevices === 0) this.group.lastFileClosed();
  }

  #getStatus(task: Task, arg: Word): number {
    user.copyInSized(task, arg, VfioGroupStatus.size, "vfio_group_status");
    this.#refuseGone();
    const { group } = this;
    const flags = group.isInContainer
      ? VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET
      : group.isViable
        ? VFIO_GROUP_FLAGS_VIABLE
        : 0;
    user.setU32(VfioGroupStatus.offsets.flags, flags);
    user.copyOut(task, arg, VfioGroupStatus.size);
    return 0;
  }

  #setContainer(task: Task, arg: Word): number {
    user.copyIn(task, arg, 4);
    const fd = user.view.getInt32(0, true);
    const file = task.files.get(fd);
    if (!file) fail("EBADF", `file descriptor ${fd} is not open`);
    if (this.group.isInContainer)
      fail("EINVAL", `${this.label} is in a container already (VFIO_GROUP_UNSET_CONTAINER comes first)`);
    this.#refuseGone();
    if (file instanceof Container) {
      file.attach(task, this.group);
    } else if (file instanceof IommufdDescription) {
      file.forGroups.take(this.group);
      this.group.iommufd = file.forGroups;
    } else {
      fail("EBADFD", `file descriptor ${fd} is no VFIO container but ${file.label}`);
    }
    return 0;
  }

  #unsetContainer(): number {
    const { group } = this;
    if (!group.isInContainer) fail("EINVAL", `${this.label} is in no container`);
    group.leaveIommufd();
    if (!group.container) return 0;
    if (group.openDevices > 0)
      fail("EBUSY", `${group.openDevices} device files of ${this.label} are open; close them first`);
    group.leaveContainer();
    return 0;
  }

  #getDeviceFd(task: Task, arg: Word): number {
    const name = task.memory.copyString(arg, NAME_MAX);
    const { group } = this;
    const device = group.devices.find((candidate) => candidate.matches(name));
    if (!device) {
      const names = group.devices.map((candidate) => candidate.name).join(", ");
      fail("ENODEV", `no device "${name}" in ${this.label} is bound to a VFIO driver (there are: ${names || "none"})`);
    }
    const file = this.#open(task, device);
    try {
      return task.files.install(file, true);
    } catch (error) {
      file.release();
      throw error;
    }
  }

  #open(task: Task, device: VfioDevice): FileDescription {
    const { group } = this;
    if (group.iommufd) return group.openThroughIommufd(task, group.iommufd, device);
    if (!group.container?.hasIommu) {
      fail("EINVAL", `${this.label} has no IOMMU yet: VFIO_GROUP_SET_CONTAINER and VFIO_SET_IOMMU come first`);
    }
    const file = device.open(task, () => this.#deviceClosed());
    group.openDevices++;
    return file;
  }

  #refuseGone(): void {
    if (this.group.isGone) fail("ENODEV", `${this.label} is gone: the last VFIO driver let go of it`);
  }
}
