import { s32, struct } from "../uapi/layout.ts";
import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VfioGroupStatus,
} from "../uapi/vfio.ts";
import type { Container } from "./container.ts";
import { Device } from "./device.ts";
import { OpenFile } from "./open-file.ts";
import { O_CLOEXEC, O_RDWR, type Transport } from "./transport.ts";

/** What VFIO_GROUP_GET_STATUS says. */
export interface GroupStatus {
  /** Every device of the group is bound to VFIO or to nothing that could do DMA. */
  readonly viable: boolean;
  /** It is in a container. */
  readonly containerSet: boolean;
  /** VFIO_GROUP_FLAGS_*. */
  readonly flags: number;
}

/** The argument of VFIO_GROUP_SET_CONTAINER, which the header does not name. */
const ContainerFd = struct("container_fd", { fd: s32 });

/** Devices that cannot be told apart by the IOMMU (/dev/vfio/N). Every call throws SystemCallError when it fails. */
export class Group extends OpenFile {
  /** N of /dev/vfio/N. */
  readonly number: number;

  private constructor(transport: Transport, fd: number, number: number) {
    super(transport, fd);
    this.number = number;
  }

  /** Opens a group by its number (see find-group.ts), without an IOMMU too (/dev/vfio/noiommu-N). */
  static open(transport: Transport, number: number): Group {
    const paths = [`/dev/vfio/${number}`, `/dev/vfio/noiommu-${number}`];
    const path = paths.find((candidate) => transport.exists(candidate)) ?? paths[0]!;
    return new Group(transport, transport.open(path, O_RDWR | O_CLOEXEC), number);
  }

  /** Whether it can be used, and whether it is in a container. */
  status(): GroupStatus {
    const { littleEndian } = this.transport;
    const status = VfioGroupStatus.encode({ argsz: VfioGroupStatus.size }, 0, littleEndian);
    this.transport.ioctl(this.fd, VFIO_GROUP_GET_STATUS, status, "VFIO_GROUP_GET_STATUS");
    const { flags } = VfioGroupStatus.decode(status, littleEndian);
    return {
      viable: (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0,
      containerSet: (flags & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0,
      flags,
    };
  }

  /** Puts the group into a container: EINVAL where it has devices that are not VFIO's, EBUSY when it is in one. */
  setContainer(container: Container): void {
    const argument = ContainerFd.encode({ fd: container.fd }, 0, this.transport.littleEndian);
    this.transport.ioctl(this.fd, VFIO_GROUP_SET_CONTAINER, argument, "VFIO_GROUP_SET_CONTAINER");
  }

  /** Takes it out again: EBUSY while a device of it is open. */
  unsetContainer(): void {
    this.transport.ioctl(this.fd, VFIO_GROUP_UNSET_CONTAINER, 0, "VFIO_GROUP_UNSET_CONTAINER");
  }

  /** Opens a device of the group by its name: "0000:00:1b.0", a mediated device's UUID. */
  getDevice(name: string): Device {
    const fd = this.transport.ioctl(this.fd, VFIO_GROUP_GET_DEVICE_FD, name, "VFIO_GROUP_GET_DEVICE_FD");
    return new Device(this.transport, fd, name);
  }
}
