import type { Eeh } from "./eeh.ts";
import type { TceWindow, WindowRequest } from "./tce-window.ts";

/** What the platform tells about an endpoint's windows (struct iommu_table_group). */
export interface TceFacts {
  /** The 32-bit window: first bus address and bytes. */
  readonly dma32Start: bigint;
  readonly dma32Size: bigint;
  /** 0: the platform has no dynamic windows, which version 2 needs. 0xffffffff: firmware without them. */
  readonly maxDynamicWindows: number;
  /** Most levels of a table, as GET_INFO reports them. */
  readonly levels: number;
  /** Bitmap of page sizes: bit n is 2^n bytes. */
  readonly pageSizes: bigint;
}

/**
 * A partitionable endpoint: the devices that share a set of windows, which to VFIO is a group. What it does differs
 * between bare metal and logical partitions (struct iommu_table_group_ops). Slots are 0 and 1.
 */
export interface TceEndpoint {
  readonly facts: TceFacts;
  /** Endpoints share windows only with those of the same kind. */
  readonly kind: "ioda2" | "lpar";
  /** Whether a TCE that allows writing allows reading too. */
  readonly writeImpliesRead: boolean;
  /** Error handling, where the platform has it. */
  readonly eeh: Eeh | undefined;

  /** User space takes the endpoint: the host's own windows go. */
  takeOwnership(): void;
  releaseOwnership(): void;

  /** Bytes of memory that a window's table counts as; 0 when there is no such table. */
  tableBytes(request: WindowRequest): bigint;
  /** Makes a table. EINVAL, ENOMEM, EPERM, ENODEV. */
  createTable(slot: number, request: WindowRequest): TceWindow;
  /** Programs a window into the endpoint. EPERM, or what the firmware says. */
  setWindow(slot: number, window: TceWindow): void;
  /** Takes it away; nothing happens when it is not there. */
  unsetWindow(slot: number): void;

  /**
   * What an access to an entry beyond the table gives: the hypervisor's answer, or ours where a kernel corrupts memory.
   */
  readonly pastEnd: "EINTR" | "ENXIO";
}
