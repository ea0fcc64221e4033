import { Host } from "../../src/host/host.ts";
import type { ModelTaskOptions } from "../../src/kernel/model-task.ts";
import type { HostDescription, PciDeviceDescription } from "../../src/machine/host-description.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import {
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  IommuHwptAlloc,
  IommuHwptGetDirtyBitmap,
  IommuHwptSetDirtyTracking,
} from "../../src/uapi/iommufd-hwpt.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import { Program, type Result } from "../vfio/program.ts";

const intel = readyMadeHost("intel")!;

/** `intel` as a kernel with iommufd has it, with 39 address bits and one more device, in a group of two. */
export const HOST: HostDescription = {
  ...intel,
  kernel: "7.2",
  iommufd: true,
  iommu: { ...intel.iommu, apertureLast: 2n ** 39n - 1n },
  modules: { ...intel.modules, vfio: { enableUnsafeNoiommuMode: false } },
  groups: [group(20, ["0000:05:00.0"]), group(21, ["0000:06:00.0", "0000:06:01.0"])],
};

/** A host as HOST whose /dev/vfio/vfio is iommufd's. */
export const COMPAT_HOST: HostDescription = { ...HOST, vfioContainer: "iommufd" };

function group(id: number, bdfs: readonly string[]): HostDescription["groups"][number] {
  const model = intel.groups
    .flatMap(({ devices }) => devices)
    .find((device): device is PciDeviceDescription => device.bus === "pci" && device.driver === "vfio-pci")!;
  return {
    id,
    type: "DMA",
    reservedRegions: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" }],
    devices: bdfs.map((bdf) => ({ ...model, bdf })),
  };
}

/** A program that speaks iommufd in raw bytes: values, or names of errnos. */
export class IommufdProgram extends Program {
  constructor(description: HostDescription = HOST, options: ModelTaskOptions = {}, host = new Host(description)) {
    super(host, options);
  }

  iommufd(): Result {
    return this.open("/dev/iommu");
  }

  /** The id of a new address space. */
  ioas(fd: Result): Result {
    const bytes = uapi.IommuIoasAlloc.encode({ size: uapi.IommuIoasAlloc.size });
    const result = this.ioctlBytes(fd, uapi.IOMMU_IOAS_ALLOC, bytes);
    return result === 0 ? uapi.IommuIoasAlloc.decode(bytes).out_ioas_id : result;
  }

  destroy(fd: Result, id: Result): Result {
    const bytes = uapi.IommuDestroy.encode({ size: uapi.IommuDestroy.size, id: Number(id) });
    return this.ioctlBytes(fd, uapi.IOMMU_DESTROY, bytes);
  }

  /** Where it was mapped, or the errno. Without an iova the kernel chooses. */
  mapIoas(
    fd: Result,
    ioas: Result,
    address: number,
    length: bigint,
    options: { readonly iova?: bigint; readonly access?: number } = {},
  ): bigint | string {
    const { iova, access = 6 } = options;
    const bytes = uapi.IommuIoasMap.encode({
      size: uapi.IommuIoasMap.size,
      flags: access | (iova === undefined ? 0 : uapi.IOMMU_IOAS_MAP_FIXED_IOVA),
      ioas_id: Number(ioas),
      user_va: BigInt(address),
      length,
      iova: iova ?? 0n,
    });
    const result = this.ioctlBytes(fd, uapi.IOMMU_IOAS_MAP, bytes);
    return typeof result === "string" ? result : uapi.IommuIoasMap.decode(bytes).iova;
  }

  copy(fd: Result, from: Result, to: Result, src_iova: bigint, dst_iova: bigint, length: bigint): Result {
    const bytes = uapi.IommuIoasCopy.encode({
      size: uapi.IommuIoasCopy.size,
      flags: 7,
      src_ioas_id: Number(from),
      dst_ioas_id: Number(to),
      length,
      src_iova,
      dst_iova,
    });
    return this.ioctlBytes(fd, uapi.IOMMU_IOAS_COPY, bytes);
  }

  /** How many bytes were unmapped, or the errno. */
  unmapIoas(fd: Result, ioas: Result, iova = 0n, length = 2n ** 64n - 1n): bigint | string {
    const bytes = uapi.IommuIoasUnmap.encode({ size: uapi.IommuIoasUnmap.size, ioas_id: Number(ioas), iova, length });
    const result = this.ioctlBytes(fd, uapi.IOMMU_IOAS_UNMAP, bytes);
    return typeof result === "string" ? result : uapi.IommuIoasUnmap.decode(bytes).length;
  }

  option(fd: Result, option_id: number, op: number, object_id: number, val64 = 0n): Result {
    const bytes = uapi.IommuOption.encode({ size: uapi.IommuOption.size, option_id, op, object_id, val64 });
    const result = this.ioctlBytes(fd, uapi.IOMMU_OPTION, bytes);
    return result === 0 ? Number(uapi.IommuOption.decode(bytes).val64) : result;
  }

  /** The id of a new page table. */
  hwpt(fd: Result, device: Result, parent: Result, flags = 0): Result {
    const size = IommuHwptAlloc.size;
    const bytes = IommuHwptAlloc.encode({ size, flags, dev_id: Number(device), pt_id: Number(parent) });
    const result = this.ioctlBytes(fd, IOMMU_HWPT_ALLOC, bytes);
    return result === 0 ? IommuHwptAlloc.decode(bytes).out_hwpt_id : result;
  }

  /** SET_DIRTY_TRACKING. */
  setDirtyTracking(fd: Result, hwpt: Result, on: boolean, flags = Number(on)): Result {
    const size = IommuHwptSetDirtyTracking.size;
    const bytes = IommuHwptSetDirtyTracking.encode({ size, flags, hwpt_id: Number(hwpt) });
    return this.ioctlBytes(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, bytes);
  }

  /** GET_DIRTY_BITMAP of at most 64 pages of 4 KiB, as one number. */
  dirtyBits64(fd: Result, hwpt: Result, iova: bigint, length: bigint): bigint {
    const data = this.memory(4096);
    const { size } = IommuHwptGetDirtyBitmap;
    const query = { size, hwpt_id: Number(hwpt), iova, length, page_size: 4096n, data: BigInt(data) };
    const result = this.ioctlBytes(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, IommuHwptGetDirtyBitmap.encode(query));
    if (result !== 0) throw new Error(`GET_DIRTY_BITMAP: ${result} ${this.reason}`);
    const word = new BigUint64Array(1);
    this.task.memory.copyIn(data, new Uint8Array(word.buffer), 8);
    return word[0]!;
  }

  /** The device's id in the iommufd. */
  bind(device: Result, iommufd: Result): Result {
    const layout = cdev.VfioDeviceBindIommufd;
    const bytes = layout.encode({ argsz: layout.size, iommufd: Number(iommufd) });
    const result = this.ioctlBytes(device, cdev.VFIO_DEVICE_BIND_IOMMUFD, bytes);
    return result === 0 ? layout.decode(bytes).out_devid : result;
  }

  /** The id of the page table that the device is attached to. */
  attach(device: Result, id: Result): Result {
    const layout = cdev.VfioDeviceAttachIommufdPt;
    const bytes = layout.encode({ argsz: layout.endOf("pt_id"), pt_id: Number(id) });
    const result = this.ioctlBytes(device, cdev.VFIO_DEVICE_ATTACH_IOMMUFD_PT, bytes);
    return result === 0 ? layout.decode(bytes).pt_id : result;
  }

  detach(device: Result): Result {
    const layout = cdev.VfioDeviceDetachIommufdPt;
    return this.ioctlBytes(device, cdev.VFIO_DEVICE_DETACH_IOMMUFD_PT, layout.encode({ argsz: layout.endOf("flags") }));
  }
}
