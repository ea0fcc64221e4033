import type { Task } from "../../kernel/task.ts";
import type { VfioGroup } from "../../vfio/group.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "./bound-device.ts";
import { MediatedUser } from "./mediated-user.ts";

/** A device in an iommufd, as its driver has it. */
export interface Binding {
  readonly id: number;
  /** Attaches it to an object, or moves it there; returns the id of what it is attached to. */
  attach(task: Task, id: number): number;
  /** Nothing when it is not attached. */
  detach(): void;
  /** The same for requests with a PASID; left out where a driver has none. */
  attachPasid?(task: Task, pasid: number, id: number): number;
  detachPasid?(pasid: number): void;
  unbind(): void;
}

/** Takes a device into an iommufd. Throws EPERM, EINVAL. */
export function bindDevice(context: IommufdContext, name: string, group: VfioGroup): Binding {
  const { unit } = group.iommuGroup;
  // without an IOMMU behind it a mediated device's driver reads memory itself
  return unit ? BoundDevice.create(context, name, group, unit) : new MediatedUser(context, name, group);
}
