import type { NestingIommus } from "../iommu/domain.ts";
import { FileDescription } from "../kernel/file-description.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { Task } from "../kernel/task.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { IOMMUFD_DIALECT } from "../uapi/requests/dialects.ts";
import type { VfioDevice } from "./device.ts";
import type { VfioGroup } from "./group.ts";
import type { GroupIommufd } from "./group-iommufd.ts";
import type { ModelContext } from "./model-context.ts";
import type { Requesters } from "./requesters.ts";

/** An open /dev/iommu, or the /dev/vfio/vfio of a host where it stands for VFIO's container. */
export abstract class IommufdDescription extends FileDescription {
  override readonly kind = "iommufd";
  abstract readonly forGroups: GroupIommufd;

  override get dialect(): RequestDialect {
    return IOMMUFD_DIALECT;
  }
}

/** What a host gives to the part that serves its iommufd nodes. */
export interface IommufdHost {
  readonly context: ModelContext;
  /** The IOMMUs that translate requests with PASIDs, and nested ones; unused on hosts that have none. */
  readonly nestingIommus: NestingIommus;
  /** The devices as the IOMMUs see them. */
  readonly requesters: Requesters;
  /** A device by N in /dev/vfio/devices/vfioN; undefined when no VFIO driver has it. */
  deviceAt(index: number): { readonly device: VfioDevice; readonly group: VfioGroup } | undefined;
}

/** Serves /dev/iommu, the devices' own nodes, and /dev/vfio/vfio in the place of VFIO. */
export interface IommufdNodes {
  /** Undefined for nodes that are not its own. Throws as HostKernel.open(). */
  open(task: Task, path: string): FileDescription | undefined;
  isThere(node: DeviceNode): boolean;
}
