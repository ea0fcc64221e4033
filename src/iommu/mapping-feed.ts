import type { SharedFile } from "../kernel/address-space.ts";

/** A range of I/O virtual addresses that leads to memory. Bytes. */
export interface MappedRange {
  readonly iova: bigint;
  readonly size: bigint;
  /** The device may read it, and write to it. */
  readonly read: boolean;
  readonly write: boolean;
  /** The file behind all of it, where it is memory that is shared already (memfd, tmpfs, hugetlbfs). */
  handOver(): SharedFile | undefined;
}

/** Who is told what a device reaches: devices that are in another process, which has to know it beforehand. */
export interface MappingListener {
  mapped(range: MappedRange): void;
  /** Exactly what was mapped before. When this returns the device uses it no more. */
  unmapped(iova: bigint, size: bigint): void;
  /** Nothing is mapped any more. */
  cleared(): void;
}
