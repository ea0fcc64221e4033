import {
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
  IOMMU_HWPT_INVALIDATE,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  IommuHwptGetDirtyBitmap,
  IommuHwptInvalidate,
  IommuHwptSetDirtyTracking,
} from "../uapi/iommufd-hwpt.ts";
import { callStruct } from "./call-struct.ts";
import { DirtyBitmap } from "./dirty-bitmap.ts";
import type { Iommufd } from "./iommufd.ts";

/** Of which range the dirty pages are asked for. In bytes. */
export interface DirtyRange {
  /** The range's begin; a multiple of `pageSize`. */
  readonly iova: bigint;
  /** How long it is. */
  readonly size: bigint;
  /** Bytes that one bit stands for. */
  readonly pageSize: bigint;
  /** What is reported stays dirty. */
  readonly keep?: boolean;
}

/** Entries that tell a nested page table what the guest has changed in it. */
export interface HwptInvalidation {
  /** IOMMU_HWPT_INVALIDATE_DATA_*. */
  readonly type: number;
  /** The entries, one behind the other. */
  readonly entries: Uint8Array;
  /** Bytes of one. */
  readonly entrySize: number;
}

/** A page table of an iommufd that an IOMMU walks. Every call throws SystemCallError when it fails. */
export class Hwpt {
  /** Its object id, above 0. */
  readonly id: number;
  readonly #iommufd: Iommufd;

  /** For Iommufd.allocHwpt(). */
  constructor(iommufd: Iommufd, id: number) {
    this.#iommufd = iommufd;
    this.id = id;
  }

  /**
   * Starts or ends the log of what devices write. EOPNOTSUPP unless the table was made with
   * IOMMU_HWPT_ALLOC_DIRTY_TRACKING.
   */
  setDirtyTracking(isOn: boolean): void {
    const flags = isOn ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0;
    const request = { size: IommuHwptSetDirtyTracking.size, hwpt_id: this.id, flags };
    const name = "IOMMU_HWPT_SET_DIRTY_TRACKING";
    callStruct(this.#iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, name, IommuHwptSetDirtyTracking, request);
  }

  /** Which pages of a range were written since it was last asked for. */
  dirtyBitmap({ iova, size, pageSize, keep = false }: DirtyRange): DirtyBitmap {
    const { transport } = this.#iommufd;
    const length = DirtyBitmap.bytesFor(size, pageSize);
    using memory = transport.allocate(length);
    const flags = keep ? IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR : 0;
    const request = {
      size: IommuHwptGetDirtyBitmap.size,
      hwpt_id: this.id,
      flags,
      iova,
      length: size,
      page_size: pageSize,
      data: memory.address,
    };
    const name = "IOMMU_HWPT_GET_DIRTY_BITMAP";
    callStruct(this.#iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, name, IommuHwptGetDirtyBitmap, request);
    return new DirtyBitmap(iova, size, pageSize, memory.bytes.slice(0, length), transport.littleEndian);
  }

  /**
   * Tells a nested table what was changed in it (IOMMU_HWPT_INVALIDATE).
   * @returns how many entries were done
   */
  invalidate({ type, entries, entrySize }: HwptInvalidation): number {
    using memory = this.#iommufd.transport.allocate(Math.max(entries.length, 1));
    memory.bytes.set(entries);
    const request = {
      size: IommuHwptInvalidate.size,
      hwpt_id: this.id,
      data_uptr: memory.address,
      data_type: type,
      entry_len: entrySize,
      entry_num: Math.floor(entries.length / entrySize),
    };
    const name = "IOMMU_HWPT_INVALIDATE";
    return callStruct(this.#iommufd, IOMMU_HWPT_INVALIDATE, name, IommuHwptInvalidate, request).entry_num;
  }

  /** Destroys it. EBUSY while a device is attached to it, or a table nests on it. */
  destroy(): void {
    this.#iommufd.destroy(this.id);
  }
}
