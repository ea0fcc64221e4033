import {
  IOMMU_DESTROY,
  IOMMU_IOAS_ALLOC,
  IOMMU_OPTION,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_VFIO_IOAS,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
  IommuDestroy,
  IommuIoasAlloc,
  IommuOption,
  IommuVfioIoas,
} from "../uapi/iommufd.ts";
import { IOMMU_GET_HW_INFO, IOMMU_HWPT_ALLOC, IommuHwInfo, IommuHwptAlloc } from "../uapi/iommufd-hwpt.ts";
import { callStruct } from "./call-struct.ts";
import { Hwpt } from "./hwpt.ts";
import { Ioas } from "./ioas.ts";
import { OpenFile } from "./open-file.ts";
import { O_CLOEXEC, O_RDWR, type Transport } from "./transport.ts";

const IOMMUFD_PATH = "/dev/iommu";
/** More than any kind of IOMMU tells of itself. */
const HW_INFO_BYTES = 64;

/** What IOMMU_GET_HW_INFO says of the IOMMU behind a device. */
export interface HwInfo {
  /** IOMMU_HW_INFO_TYPE_*: what `data` is. */
  readonly type: number;
  /** IOMMU_HW_CAP_*. */
  readonly capabilities: bigint;
  /** The device may have 2^n PASIDs; 0 for none. */
  readonly maxPasidLog2: number;
  /** The structure of that type (IommuHwInfoVtd ...), empty when nothing is known. */
  readonly data: Uint8Array;
}

/** A page table to be made. */
export interface HwptRequest {
  /** The device's id in the iommufd: what Device.bindIommufd() gave. */
  readonly device: number;
  /** The address space that it shows, or the page table that it nests on. */
  readonly parent: Ioas | Hwpt;
  /** IOMMU_HWPT_ALLOC_*; 0 when left out. */
  readonly flags?: number;
  /** What it is made of, for a nested one. */
  readonly data?: HwptData;
}

/** What a nested page table is made of. */
export interface HwptData {
  /** IOMMU_HWPT_DATA_*. */
  readonly type: number;
  /** The structure of that type (IommuHwptVtdS1 ...). */
  readonly bytes: Uint8Array;
}

/**
 * An iommufd (/dev/iommu): address spaces and page tables of devices that were opened by their own nodes (openDevice).
 * Closing it takes all of them along. Every call throws SystemCallError when it fails.
 */
export class Iommufd extends OpenFile {
  private constructor(transport: Transport, fd: number) {
    super(transport, fd);
  }

  /** Opens an empty one. ENOENT on a host without iommufd. */
  static open(transport: Transport): Iommufd {
    return new Iommufd(transport, transport.open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC));
  }

  /** A new address space with nothing in it (IOMMU_IOAS_ALLOC). */
  allocIoas(): Ioas {
    const { out_ioas_id } = callStruct(this, IOMMU_IOAS_ALLOC, "IOMMU_IOAS_ALLOC", IommuIoasAlloc, {
      size: IommuIoasAlloc.size,
    });
    return new Ioas(this, out_ioas_id);
  }

  /** A new page table for a device (IOMMU_HWPT_ALLOC): to track dirty pages, to nest on, or nested. */
  allocHwpt({ device, parent, flags = 0, data }: HwptRequest): Hwpt {
    using memory = data && this.transport.allocate(data.bytes.length);
    if (data) memory!.bytes.set(data.bytes);
    const { out_hwpt_id } = callStruct(this, IOMMU_HWPT_ALLOC, "IOMMU_HWPT_ALLOC", IommuHwptAlloc, {
      size: IommuHwptAlloc.size,
      flags,
      dev_id: device,
      pt_id: parent.id,
      ...(data && { data_type: data.type, data_len: data.bytes.length, data_uptr: memory!.address }),
    });
    return new Hwpt(this, out_hwpt_id);
  }

  /**
   * What the IOMMU behind a device is (IOMMU_GET_HW_INFO).
   * @param device what Device.bindIommufd() gave
   */
  hwInfo(device: number): HwInfo {
    using memory = this.transport.allocate(HW_INFO_BYTES);
    const answer = callStruct(this, IOMMU_GET_HW_INFO, "IOMMU_GET_HW_INFO", IommuHwInfo, {
      size: IommuHwInfo.size,
      dev_id: device,
      data_len: HW_INFO_BYTES,
      data_uptr: memory.address,
    });
    return {
      type: answer.out_data_type,
      capabilities: answer.out_capabilities,
      maxPasidLog2: answer.out_max_pasid_log2,
      data: memory.bytes.slice(0, Math.min(answer.data_len, HW_INFO_BYTES)),
    };
  }

  /**
   * The value of an option (IOMMU_OPTION).
   * @param option IOMMU_OPTION_*
   * @param object what it is of; the iommufd itself when left out
   */
  option(option: number, object?: Ioas): bigint {
    return this.#option(IOMMU_OPTION_OP_GET, option, 0n, object);
  }

  /** Sets an option. EBUSY when it can no longer be set. */
  setOption(option: number, value: bigint, object?: Ioas): void {
    this.#option(IOMMU_OPTION_OP_SET, option, value, object);
  }

  /**
   * The address space that the requests of a VFIO container mean on this file (IOMMU_VFIO_IOAS). ENODEV when there is
   * none.
   */
  compatIoas(): Ioas {
    return new Ioas(this, this.#compat(IOMMU_VFIO_IOAS_GET, 0));
  }

  /** Says which address space that is; undefined for none. */
  setCompatIoas(ioas: Ioas | undefined): void {
    this.#compat(ioas ? IOMMU_VFIO_IOAS_SET : IOMMU_VFIO_IOAS_CLEAR, ioas?.id ?? 0);
  }

  /** Destroys an object by its id (IOMMU_DESTROY). EBUSY while something uses it. */
  destroy(id: number): void {
    callStruct(this, IOMMU_DESTROY, "IOMMU_DESTROY", IommuDestroy, { size: IommuDestroy.size, id });
  }

  #option(op: number, option_id: number, val64: bigint, object: Ioas | undefined): bigint {
    const request = { size: IommuOption.size, op, option_id, val64, object_id: object?.id ?? 0 };
    return callStruct(this, IOMMU_OPTION, "IOMMU_OPTION", IommuOption, request).val64;
  }

  #compat(op: number, ioas_id: number): number {
    const request = { size: IommuVfioIoas.size, op, ioas_id };
    return callStruct(this, IOMMU_VFIO_IOAS, "IOMMU_VFIO_IOAS", IommuVfioIoas, request).ioas_id;
  }
}
