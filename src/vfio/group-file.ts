import { fail, hex } from "../kernel/errors.ts";
import { FileDescription } from "../kernel/file-description.ts";
import type { Release } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { GROUP_DIALECT } from "../uapi/requests/dialects.ts";
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
import type { GroupHolder, VfioGroup } from "./group.ts";
import { IommufdDescription } from "./iommufd.ts";
import { UserStruct } from "./user-struct.ts";

/**
 * strndup_user() of a device name takes at most a page, whatever the kernel's page size is on the machines modelled.
 */
const NAME_MAX = 4096;

const user = new UserStruct(VfioGroupStatus.size);

/** An open /dev/vfio/N. */
export class GroupFile extends FileDescription {
  override readonly kind = "group";
  readonly group: VfioGroup;
  readonly #release: Release;

  constructor(group: VfioGroup, release: Release, holder: GroupHolder) {
    super();
    this.#release = release;
    this.group = group;
    group.fileOpened(holder);
  }

  override get dialect(): RequestDialect {
    return GROUP_DIALECT;
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
    this.group.fileClosed();
  }

  #getStatus(task: Task, arg: Word): number {
    user.copyInSized(task, arg, VfioGroupStatus.size, "vfio_group_status");
    this.#refuseGone();
    const { group } = this;
    const flags =
      (this.#isViable() ? VFIO_GROUP_FLAGS_VIABLE : 0) | (group.isInContainer ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
    user.setU32(VfioGroupStatus.offsets.flags, flags);
    user.copyOut(task, arg, VfioGroupStatus.size);
    return 0;
  }

  /** A group in a container is the user's; before groups had owners it could lose that (vfio.c:vfio_group_viable). */
  #isViable(): boolean {
    const { group } = this;
    if (!this.#release.has("groupOwnership")) return group.dma.hasOnlyOurDrivers;
    return group.isInContainer || group.dma.isViable;
  }

  #setContainer(task: Task, arg: Word): number {
    user.copyIn(task, arg, 4);
    const fd = user.view.s32(0);
    if (!this.#release.has("containerFdFirst")) {
      if (fd < 0) fail("EINVAL", `${fd} is no file descriptor`);
      this.#refuseSecond();
    }
    const file = task.files.get(fd);
    if (!file) fail("EBADF", `file descriptor ${fd} is not open`);
    this.#refuseSecond();
    this.#refuseGone();
    if (file instanceof Container) {
      this.group.enterContainer(task, file);
    } else if (file instanceof IommufdDescription) {
      this.group.enterIommufd(file.forGroups);
    } else {
      const errno = this.#release.has("containerFdErrno") ? "EBADFD" : "EINVAL";
      fail(errno, `file descriptor ${fd} is no VFIO container but ${file.label}`);
    }
    return 0;
  }

  #refuseSecond(): void {
    if (this.group.isInContainer)
      fail("EINVAL", `${this.label} is in a container already (VFIO_GROUP_UNSET_CONTAINER comes first)`);
  }

  #unsetContainer(): number {
    const { group } = this;
    if (!group.isInContainer) fail("EINVAL", `${this.label} is in no container`);
    const { use } = group;
    if (use.by === "container" && use.openDevices > 0)
      fail("EBUSY", `${use.openDevices} device files of ${this.label} are open; close them first`);
    group.leave();
    return 0;
  }

  #getDeviceFd(task: Task, arg: Word): number {
    const name = task.memory.copyString(arg, NAME_MAX);
    const { group } = this;
    // vfio.c:vfio_group_get_device_fd asked this before it looked for the device
    if (!this.#release.has("groupOwnership")) {
      this.#refuseWithoutIommu();
      if (!group.dma.hasOnlyOurDrivers) fail("EINVAL", group.dma.describeHostDrivers());
    }
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
    if (group.use.by === "iommufd") return group.openInIommufd(task, group.use.iommufd, device);
    this.#refuseWithoutIommu();
    return group.openInContainer(task, device);
  }

  #refuseWithoutIommu(): void {
    if (this.group.container?.hasIommu) return;
    fail("EINVAL", `${this.label} has no IOMMU yet: VFIO_GROUP_SET_CONTAINER and VFIO_SET_IOMMU come first`);
  }

  #refuseGone(): void {
    if (this.group.isGone) fail("ENODEV", `${this.label} is gone: the last VFIO driver let go of it`);
  }
}
