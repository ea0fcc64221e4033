import type { PinnedPage } from "../devices/mediated/mediated-model.ts";
import type { DmaGroup } from "../iommu/dma-group.ts";
import type { DeviceDma, DmaTarget } from "../iommu/dma-target.ts";
import type { Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import type { BackendSpace } from "./space-view.ts";

/** The driver of a mediated device, which holds pages of mappings. */
export interface DmaUnmapListener {
  /** A mapping is about to go: whatever is held of it must be given back (vfio_device_ops.dma_unmap). */
  dmaUnmap(iova: bigint, size: bigint): void;
}

/**
 * How the drivers of mediated devices reach memory: vfio_pin_pages(), vfio_unpin_pages(), vfio_dma_rw(). Errors are the
 * backend's. `caller` is the process in whose call the driver works (`current`); undefined in a thread of the kernel's
 * own.
 */
export interface MediatedAccess {
  /** From now on `listener` hears of mappings that go. A device without one cannot pin. */
  register(listener: DmaUnmapListener): void;
  unregister(listener: DmaUnmapListener): void;
  /**
   * @param iova a multiple of the host's page
   * @param count pages of the host's size
   * @returns the pages; usable until they are unpinned
   */
  pinPages(
    caller: Task | undefined,
    group: DmaGroup,
    iova: bigint,
    count: number,
    write: boolean,
  ): readonly PinnedPage[];
  unpinPages(iova: bigint, count: number): void;
  read(caller: Task | undefined, iova: bigint, into: Uint8Array): void;
  write(caller: Task | undefined, iova: bigint, from: Uint8Array): void;
}

/** What a container's IOMMU does (struct vfio_iommu_driver_ops). type1 and sPAPR TCE are two of them. */
export interface IommuBackend {
  /** For messages. */
  readonly name: "type1" | "spapr" | "noiommu";
  /** What request numbers mean on a container with it. */
  readonly dialect: RequestDialect;
  /** Takes a group in: throws KernelError, and then nothing has changed. */
  attach(task: Task, group: DmaGroup): void;
  detach(group: DmaGroup): void;
  /** A request that the container itself does not know. */
  ioctl(task: Task, request: number, arg: Word): number;
  checkExtension(extension: Word): number;
  /**
   * Where DMA of a device of an attached group goes, as long as the group is attached. Undefined where nothing
   * translates for it: a mediated device's driver reaches memory by `mediated`, and the model has no memory for a
   * device without IOMMU, which reaches all of the host's.
   */
  reach(group: DmaGroup, device: string): DeviceDma | undefined;
  /** Undefined where mediated devices cannot be used. */
  readonly mediated: MediatedAccess | undefined;
  /** Its address space, for who looks on. Undefined without an IOMMU. */
  readonly space: BackendSpace | undefined;
  /** The container lets go: everything mapped is unmapped. */
  release(): void;
}

/** One whose mappings lead to memory, for devices and for drivers of mediated ones. */
export interface MappingBackend extends IommuBackend {
  readonly dma: DmaTarget;
  readonly mediated: MediatedAccess;
}

/** Makes backends: the kernel module (vfio_iommu_type1, vfio_iommu_spapr_tce). */
export interface IommuDriver {
  /** Whether it serves the groups that have no IOMMU; all others only serve those that have. */
  readonly forNoIommu: boolean;
  /** What request numbers mean on a container that has no IOMMU yet. */
  readonly dialect: RequestDialect;
  /** CHECK_EXTENSION on a container without IOMMU. A positive value also claims the number as a SET_IOMMU type. */
  checkExtension(extension: Word): number;
  /** SET_IOMMU: throws KernelError for a type that is claimed but cannot be opened. */
  open(task: Task, type: Word): IommuBackend;
}
