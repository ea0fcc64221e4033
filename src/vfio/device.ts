import type { IommuGroup } from "../iommu/group.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";

/** A device that a VFIO driver is bound to (struct vfio_device). */
export interface VfioDevice {
  /** As GET_DEVICE_FD names it: "0000:00:1b.0", or a mediated device's UUID. */
  readonly name: string;
  readonly iommuGroup: IommuGroup;
  /** Whether any file for it is open. */
  readonly isOpen: boolean;
  /** Whether `name`, as a caller wrote it, means this device. Throws for options that do not fit: EINVAL, EACCES. */
  matches(name: string): boolean;
  /**
   * Whether it may be bound to an iommufd with this token, or with none (vfio_device_ops.match_token_uuid). EINVAL,
   * EACCES.
   * @param uuid 16 bytes
   */
  checkToken(uuid: Uint8Array | undefined): void;
  /** Asks its user to let go of it (vfio_device_ops.request). Returns whether there is a way to tell. */
  requestRelease(): boolean;
  /** A new open file for it, which calls `released` when it is closed. The device may be open several times. */
  open(task: Task, released: () => void): FileDescription;
}
