import * as uapi from "../../src/uapi/iommufd.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import { PAGE, pageAddress, SCRATCH, WINDOW } from "./area.ts";
import type { TenantProcess } from "./machine.ts";

/** iommufd's requests as tenants make them. Results as of TenantProcess; ids of new objects where there are any. */

const PARENT_FLAGS = hwpt.IOMMU_HWPT_ALLOC_NEST_PARENT | hwpt.IOMMU_HWPT_ALLOC_PASID;
const ALL = 2n ** 64n - 1n;
const READABLE_WRITABLE_FIXED = 7;
/** Where in the scratch page structures lie that others point to: behind the word that devices use. */
const SPARE = SCRATCH * PAGE + 64;

export function allocateSpace(process: TenantProcess, fd: number): number {
  const bytes = uapi.IommuIoasAlloc.encode({ size: uapi.IommuIoasAlloc.size });
  const result = process.exchange(fd, uapi.IOMMU_IOAS_ALLOC, bytes);
  return result < 0 ? result : uapi.IommuIoasAlloc.decode(bytes).out_ioas_id;
}

export function destroyObject(process: TenantProcess, fd: number, id: number): number {
  return process.exchange(fd, uapi.IOMMU_DESTROY, uapi.IommuDestroy.encode({ size: uapi.IommuDestroy.size, id }));
}

export function mapPages(
  process: TenantProcess,
  fd: number,
  ioas_id: number,
  { first, count, memory }: { readonly first: number; readonly count: number; readonly memory: number },
): number {
  const bytes = uapi.IommuIoasMap.encode({
    size: uapi.IommuIoasMap.size,
    flags: READABLE_WRITABLE_FIXED,
    ioas_id,
    user_va: BigInt(memory),
    length: BigInt(count * PAGE),
    iova: BigInt(pageAddress(first)),
  });
  return process.exchange(fd, uapi.IOMMU_IOAS_MAP, bytes);
}

/** @param run undefined: everything */
export function unmapPages(
  process: TenantProcess,
  fd: number,
  ioas_id: number,
  run?: { readonly first: number; readonly count: number },
): number {
  const range = run
    ? { iova: BigInt(pageAddress(run.first)), length: BigInt(run.count * PAGE) }
    : { iova: 0n, length: ALL };
  const bytes = uapi.IommuIoasUnmap.encode({ size: uapi.IommuIoasUnmap.size, ioas_id, ...range });
  return process.exchange(fd, uapi.IOMMU_IOAS_UNMAP, bytes);
}

/** What can be mapped: number of ranges and the first of them. */
export function spaceView(process: TenantProcess, fd: number, ioas_id: number, area: number): readonly Uint8Array[] {
  const layout = uapi.IommuIoasIovaRanges;
  const bytes = layout.encode({ size: layout.size, ioas_id, num_iovas: 8, allowed_iovas: BigInt(area + SPARE) });
  const result = process.exchange(fd, uapi.IOMMU_IOAS_IOVA_RANGES, bytes);
  const ranges = new Uint8Array(8 * uapi.IommuIovaRange.size);
  process.peek(area + SPARE, ranges);
  const { num_iovas } = layout.decode(bytes);
  return [
    new Uint8Array(new Int32Array([result]).buffer),
    bytes,
    ranges.subarray(0, num_iovas * uapi.IommuIovaRange.size),
  ];
}

/** A page table over an address space that others can be nested on. */
export function allocateParent(process: TenantProcess, fd: number, dev_id: number, pt_id: number): number {
  const { size } = hwpt.IommuHwptAlloc;
  return allocateTable(process, fd, hwpt.IommuHwptAlloc.encode({ size, flags: PARENT_FLAGS, dev_id, pt_id }));
}

/** The guest's page table at the beginning of the window. */
export function allocateNested(
  process: TenantProcess,
  fd: number,
  dev_id: number,
  pt_id: number,
  area: number,
): number {
  const data = hwpt.IommuHwptVtdS1.encode({ flags: 0n, pgtbl_addr: BigInt(WINDOW), addr_width: 48 });
  process.poke(area + SPARE, data);
  const bytes = hwpt.IommuHwptAlloc.encode({
    size: hwpt.IommuHwptAlloc.size,
    flags: hwpt.IOMMU_HWPT_ALLOC_PASID,
    dev_id,
    pt_id,
    data_type: hwpt.IOMMU_HWPT_DATA_VTD_S1,
    data_len: data.length,
    data_uptr: BigInt(area + SPARE),
  });
  return allocateTable(process, fd, bytes);
}

function allocateTable(process: TenantProcess, fd: number, bytes: Uint8Array): number {
  const result = process.exchange(fd, hwpt.IOMMU_HWPT_ALLOC, bytes);
  return result < 0 ? result : hwpt.IommuHwptAlloc.decode(bytes).out_hwpt_id;
}

/** Everything that is remembered of a guest's table. */
export function invalidateNested(process: TenantProcess, fd: number, hwpt_id: number, area: number): number {
  const entry = hwpt.IommuHwptVtdS1Invalidate.encode({ addr: 0n, npages: ALL });
  process.poke(area + SPARE, entry);
  const bytes = hwpt.IommuHwptInvalidate.encode({
    size: hwpt.IommuHwptInvalidate.size,
    hwpt_id,
    data_uptr: BigInt(area + SPARE),
    data_type: hwpt.IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
    entry_len: entry.length,
    entry_num: 1,
  });
  return process.exchange(fd, hwpt.IOMMU_HWPT_INVALIDATE, bytes);
}

/** The device's id. */
export function bindDevice(process: TenantProcess, device: number, iommufd: number): number {
  const layout = cdev.VfioDeviceBindIommufd;
  const bytes = layout.encode({ argsz: layout.size, iommufd });
  const result = process.exchange(device, cdev.VFIO_DEVICE_BIND_IOMMUFD, bytes);
  return result < 0 ? result : layout.decode(bytes).out_devid;
}

/** @param pasid undefined: for requests without one */
export function attachDevice(process: TenantProcess, device: number, pt_id: number, pasid?: number): number {
  const layout = cdev.VfioDeviceAttachIommufdPt;
  const bytes = layout.encode(
    pasid === undefined
      ? { argsz: layout.endOf("pt_id"), pt_id }
      : { argsz: layout.size, flags: cdev.VFIO_DEVICE_ATTACH_PASID, pt_id, pasid },
  );
  return process.exchange(device, cdev.VFIO_DEVICE_ATTACH_IOMMUFD_PT, bytes);
}

export function detachDevice(process: TenantProcess, device: number, pasid?: number): number {
  const layout = cdev.VfioDeviceDetachIommufdPt;
  const bytes = layout.encode(
    pasid === undefined
      ? { argsz: layout.endOf("flags") }
      : { argsz: layout.size, flags: cdev.VFIO_DEVICE_DETACH_PASID, pasid },
  );
  return process.exchange(device, cdev.VFIO_DEVICE_DETACH_IOMMUFD_PT, bytes);
}
