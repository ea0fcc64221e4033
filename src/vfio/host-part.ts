import type { NestingIommus } from "../iommu/nesting-iommus.ts";
import type { PasidPool } from "../iommu/pasid-pool.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { ModuleParameters } from "../kernel/module-parameters.ts";
import type { Task } from "../kernel/task.ts";
import type { HostDescription } from "../machine/host-description.ts";
import type { VfioDevice } from "./device.ts";
import type { VfioGroup } from "./group.ts";
import type { ModelContext } from "./model-context.ts";
import type { Requesters } from "./requesters.ts";
import type { LiveSpace } from "./space-view.ts";

/**
 * A part of a booted host: what answers on some of its nodes. Parts are listed in host/parts.ts and know nothing of
 * each other.
 */
export interface HostPart {
  /** Opens a node of its own; undefined for all others. Throws as HostKernel.open(). */
  open(task: Task, path: string): FileDescription | undefined;
  /** Whether a node is its own, and is there now. */
  hasNode(path: string): boolean;
  /** The I/O address spaces that programs have by it now, for who looks on. */
  spaces?(): LiveSpace[];
  /** As that of HostKernel. */
  procFile?(task: Task, thread: number, name: string): FileDescription | undefined;
}

/** What a host gives to its parts when it boots. A part defines the parameters of its modules. */
export interface HostGround {
  readonly description: HostDescription;
  readonly context: ModelContext;
  readonly parameters: ModuleParameters;
  /** The IOMMUs that translate requests with PASIDs, and nested ones; unused on hosts that have none. */
  readonly iommus: () => NestingIommus;
  readonly pasids: PasidPool;
  /** The devices as the IOMMUs see them. */
  readonly requesters: Requesters;
  readonly vfio: VfioDevices;
}

/** What VFIO drivers have now. */
export interface VfioDevices {
  /** All groups that a VFIO driver has a device of. */
  groups(): Iterable<VfioGroup>;
  /** A group by its number; undefined when no device of it has a VFIO driver. */
  group(id: number): VfioGroup | undefined;
  /** A device by N in /dev/vfio/devices/vfioN; undefined when no VFIO driver has it. */
  deviceAt(index: number): { readonly device: VfioDevice; readonly group: VfioGroup } | undefined;
}
