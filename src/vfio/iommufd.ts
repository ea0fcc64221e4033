import type { DmaGroup } from "../iommu/dma-group.ts";
import type { IommuGroup } from "../iommu/group.ts";
import type { DmaOwner } from "../iommu/requester.ts";
import { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { IOMMUFD_DIALECT } from "../uapi/requests/dialects.ts";
import type { MediatedAccess } from "./backend.ts";

/** A device that is bound to an iommufd, as VFIO knows it. */
export interface IommufdBinding {
  /** Its object's id there. */
  readonly id: number;
  /** For the driver of a mediated device that reads memory itself; undefined where an IOMMU translates. */
  readonly memory: MediatedAccess | undefined;
  /** The device's last close. */
  readonly end: () => void;
}

/**
 * An iommufd as a group uses it in the place of a container (drivers/vfio/iommufd.c). src/iommufd has the only kind.
 */
export interface GroupIommufd {
  /** As the groups know it that it owns. */
  readonly owner: DmaOwner;
  /** VFIO_GROUP_SET_CONTAINER. The group keeps it until it lets go. Throws EINVAL. */
  take(group: IommuGroup): void;
  letGo(): void;
  /**
   * A device of the group is opened, and was not open before: it is bound and attached. Undefined where there is
   * nothing to bind to, without IOMMU.
   * @throws KernelError EPERM, EINVAL, EADDRINUSE, EFAULT, ENOMEM
   */
  openDevice(task: Task, group: DmaGroup, device: string): IommufdBinding | undefined;
}

/** An open /dev/iommu, or the /dev/vfio/vfio of a host where it stands for VFIO's container. */
export abstract class IommufdDescription extends FileDescription {
  override readonly kind = "iommufd";
  abstract readonly forGroups: GroupIommufd;

  override get dialect(): RequestDialect {
    return IOMMUFD_DIALECT;
  }
}
