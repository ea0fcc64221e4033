import type { Task } from "../../kernel/task.ts";
import type { MediatedAccess } from "../../vfio/backend.ts";
import type { IommufdBinding } from "../../vfio/iommufd.ts";

/** A device in an iommufd, as its driver has it. */
export interface Binding {
  readonly id: number;
  /** Attaches it to an object, or moves it there; returns the id of what it is attached to. */
  attach(task: Task, id: number): number;
  /** Nothing when it is not attached. */
  detach(): void;
  /** Undefined where the driver knows no PASIDs. */
  readonly pasids: PasidBinding | undefined;
  /** Undefined where an IOMMU translates, and the driver does not read memory itself. */
  readonly memory: MediatedAccess | undefined;
  unbind(): void;
}

/** Attaches and detaches a device for its requests with a PASID. */
export interface PasidBinding {
  attach(task: Task, pasid: number, id: number): number;
  detach(pasid: number): void;
}

/** What VFIO's side knows of it. */
export function forVfio(binding: Binding): IommufdBinding {
  return { id: binding.id, memory: binding.memory, end: () => binding.unbind() };
}
