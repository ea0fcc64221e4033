import type { IommuDomain, UserFormat, UserInvalidation, UserTable } from "./domain.ts";
import type { RequesterIdentity } from "./requester.ts";
import type { UserData, UserDataArray } from "./user-data.ts";

/** Memory that a driver lets programs map. */
export interface MappedWindow {
  /** What mmap() is given, and nothing else: bytes, multiples of the page. */
  readonly offset: number;
  readonly length: number;
  write(at: number, bytes: Uint8Array): void;
  /** No program maps it any more. */
  release(): void;
}

/** A virtual IOMMU as its driver finds it (struct iommufd_viommu). */
export interface VirtualIommuGround {
  /** What its tables are nested on. */
  readonly parentDomain: IommuDomain;
  /**
   * The number that a guest's IOMMU has for a device; undefined for a device that was given none here
   * (driver.c:iommufd_viommu_get_vdev_id).
   */
  numberOf(device: RequesterIdentity): bigint | undefined;
  /** The device that has a number (driver.c:iommufd_viommu_find_dev). */
  deviceAt(number: bigint): RequesterIdentity | undefined;
  /**
   * Something has happened that the guest is to hear of: it goes to the queue of this type, or is noted there as lost
   * (driver.c:iommufd_viommu_report_event).
   * @param event as a guest reads it, in the byte order of the machine
   * @throws KernelError EOPNOTSUPP without such a queue
   */
  report(type: number, event: Uint8Array): void;
  /** Whether there is a queue of this type. */
  hears(type: number): boolean;
  /** Tells the person at the host of a kernel's defect that a program has met. */
  warn(message: string): void;
  readonly littleEndian: boolean;
  readonly pageSize: number;
  /** Zeroed memory that programs can map (driver.c:iommufd_viommu_alloc_mmap). ENOMEM. */
  shareMemory(length: number): MappedWindow;
}

/** An object that others depend on: it is not destroyed as long as any does. */
export interface Dependable {
  users: number;
}

/** A queue that a guest has in its memory and the hardware reads by itself, when it is made. */
export interface HardwareQueue {
  readonly object: Dependable;
  readonly index: number;
  /** In the parent's address space. */
  readonly address: bigint;
  /** Bytes. */
  readonly length: bigint;
}

/** What a driver does for one virtual IOMMU (struct iommufd_viommu_ops). What is absent it has not: EOPNOTSUPP. */
export interface VirtualIommu {
  /**
   * A guest's page table over the virtual IOMMU's parent (alloc_domain_nested).
   * @param flags IOMMU_HWPT_ALLOC_*, but for the fault queue's
   */
  nest(flags: number, data: UserData): UserTable;
  /** Invalidations of such a table; absent where they are the virtual IOMMU's. */
  readonly tableInvalidations?: UserFormat<UserInvalidation>;
  /**
   * A guest's invalidations (cache_invalidate), in steps: they may be many.
   * @param done how many were done counts there, also when it throws
   */
  invalidate?(array: UserDataArray, done: { entries: number }): Generator<void, void>;
  /** Looks at a device that is to be given a number, and may refuse it (vdevice_init). */
  accept?(device: RequesterIdentity): void;
  readonly queues?: {
    /** IOMMU_HW_QUEUE_TYPE_* */
    readonly type: number;
    /** Returns how to end it (hw_queue_init_phys). */
    add(queue: HardwareQueue): () => void;
  };
  /** The last that used it is gone (destroy). */
  release(): void;
}

/** A kind of virtual IOMMU that a driver makes (iommu_ops.viommu_init). */
export interface VirtualIommuKind {
  /** IOMMU_VIOMMU_TYPE_*, or whatever a caller says. */
  readonly type: number | "any";
  /**
   * @param data undefined when the caller hands nothing in
   * @param iommus the host's, which are of the driver's kind
   * @throws KernelError as its driver does
   */
  make(ground: VirtualIommuGround, data: UserData | undefined, iommus: object): VirtualIommu;
}
