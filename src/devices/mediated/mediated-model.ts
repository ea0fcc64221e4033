import type { DeviceBus, DeviceModel } from "../device-model.ts";

/**
 * A page that a mediated device holds (what vfio_pin_pages() gives its driver). Not to be touched after it is unpinned.
 */
export interface PinnedPage {
  /** Copies from `offset` bytes into the page. EFAULT when the memory is gone. */
  read(offset: number, into: Uint8Array): void;
  /** Copies to there. EFAULT when the memory is gone. */
  write(offset: number, from: Uint8Array): void;
}

/**
 * How a mediated device's driver reaches the memory that its container or its iommufd maps. Calls throw KernelError.
 */
export interface MediatedMemory {
  /** The host kernel's PAGE_SIZE in bytes. */
  readonly pageSize: number;
  /**
   * vfio_pin_pages(): all of the pages or none.
   * @param iova a multiple of the page
   */
  pin(iova: bigint, pages: number, write: boolean): readonly PinnedPage[];
  /** vfio_unpin_pages(): gives one reference to each page back. */
  unpin(iova: bigint, pages: number): void;
  /** vfio_dma_rw(): reads through mappings without holding anything. */
  read(iova: bigint, into: Uint8Array): void;
  /** vfio_dma_rw(): the same for writing. */
  write(iova: bigint, from: Uint8Array): void;
}

/** What a mediated device's driver has of the machine around it. */
export interface MediatedSurroundings {
  /** What its container or iommufd maps. */
  readonly memory: MediatedMemory;
  /** DMA through an IOMMU, on hosts where mediated devices have that. */
  readonly dma?: Pick<DeviceBus, "dmaRead" | "dmaWrite"> | undefined;
  /** Raises the interrupt that the program has set up: sends the MSI, or asserts INTx. */
  raise(): void;
  /** INTx is no longer asserted. */
  lower(): void;
  /** What a person should know although no call failed. */
  warn(message: string): void;
}

/** What is behind the regions of a mediated device, and its side of vfio_device_ops. */
export interface MediatedModel extends DeviceModel {
  /**
   * A mapping goes: what is held of it must be given back before this returns (vfio_device_ops.dma_unmap). Bytes.
   * Absent for a device that never pins.
   */
  dmaUnmap?(iova: bigint, size: bigint): void;
}
