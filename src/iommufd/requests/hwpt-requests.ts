import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_DATA_NONE,
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_FAULT_ID_VALID,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
  IommuHwptAlloc,
  IommuHwptGetDirtyBitmap,
  IommuHwptInvalidate,
  IommuHwptSetDirtyTracking,
} from "../../uapi/iommufd-hwpt.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { driverOf } from "../devices/hardware.ts";
import { Hwpt } from "../devices/hwpt.ts";
import { FaultQueue } from "../events/fault-queue.ts";
import { Ioas } from "../ioas.ts";
import { refuseReserved } from "./ioas-requests.ts";

const CORE_FLAGS =
  IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;
const INVALIDATE_ENTRY_MAX = 2 ** 19;
const END = 2n ** 64n;

/** hw_pagetable.c:iommufd_hwpt_alloc */
export function hwptAlloc(context: IommufdContext, command: Command): number {
  const request = IommuHwptAlloc.read(command.view, 0);
  const { objects } = context;
  refuseReserved(request.__reserved);
  if ((request.data_type === IOMMU_HWPT_DATA_NONE) !== (request.data_len === 0)) {
    fail("EINVAL", `data_type ${request.data_type} and data_len ${request.data_len} do not go together`);
  }
  const device = objects.find(request.dev_id, BoundDevice, "device");
  const parent = objects.get(request.pt_id) ?? fail("EINVAL", `there is no object with id ${request.pt_id}`);
  if (parent instanceof Hwpt) refuseNesting(parent, device, request);
  if (!(parent instanceof Ioas)) fail("EINVAL", `a page table is made over an ioas, not over ${parent.label}`);
  refuseFlags(device, request.flags, request.data_len > 0);
  const hwpt = new Hwpt(parent, device.unit, (request.flags & IOMMU_HWPT_ALLOC_PASID) !== 0);
  objects.add(hwpt);
  try {
    hwpt.join(command.task);
    if (request.flags & IOMMU_HWPT_FAULT_ID_VALID) {
      hwpt.fault = objects.find(request.fault_id, FaultQueue, "fault queue");
      hwpt.fault.users++;
    }
    IommuHwptAlloc.write(command.view, 0, { out_hwpt_id: hwpt.id });
    command.respond(IommuHwptAlloc);
  } catch (error) {
    objects.destroy(hwpt);
    throw error;
  }
  return 0;
}

/** What the IOMMU's driver makes no page table for (hw_pagetable.c:iommufd_hwpt_paging_alloc). */
function refuseFlags({ unit }: BoundDevice, flags: number, hasData: boolean): void {
  const { hwptFlags } = driverOf(unit);
  if (hwptFlags === undefined && (flags || hasData)) fail("EOPNOTSUPP", `${unit.label} makes plain page tables only`);
  const unknown = (flags & ~CORE_FLAGS) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)} (known: ${hex(CORE_FLAGS)})`);
  const refused = flags & ~IOMMU_HWPT_FAULT_ID_VALID & ~(hwptFlags ?? 0);
  if (refused) fail("EOPNOTSUPP", `${unit.label} makes no page tables with flags ${hex(refused)}`);
  if (hasData) fail("EOPNOTSUPP", `${unit.label} takes no data for a page table over an ioas`);
}

/** hw_pagetable.c:iommufd_hwpt_nested_alloc. No IOMMU here makes parents, so the second check always ends it. */
function refuseNesting(
  parent: Hwpt,
  { unit }: BoundDevice,
  request: { readonly flags: number; readonly data_len: number },
): never {
  const known = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID;
  if (request.flags & ~known || request.data_len === 0 || !driverOf(unit).nests) {
    fail("EOPNOTSUPP", `${unit.label} nests no page table of this kind on ${parent.label}`);
  }
  fail("EINVAL", `${parent.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
}

/** hw_pagetable.c:iommufd_hwpt_set_dirty_tracking */
export function setDirtyTracking(context: IommufdContext, command: Command): number {
  const { flags, hwpt_id } = IommuHwptSetDirtyTracking.read(command.view, 0);
  if (flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE) fail("EOPNOTSUPP", `unknown flag bits ${hex(flags)}`);
  return refuseDirtyTracking(findHwpt(context, hwpt_id));
}

/** hw_pagetable.c:iommufd_hwpt_get_dirty_bitmap, io_pagetable.c:iommufd_check_iova_range */
export function getDirtyBitmap(context: IommufdContext, command: Command): number {
  const request = IommuHwptGetDirtyBitmap.read(command.view, 0);
  const unknown = (request.flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)}`);
  refuseReserved(request.__reserved);
  const hwpt = findHwpt(context, request.hwpt_id);
  const { iova, page_size } = request;
  const end = iova + BigInt.asUintN(64, request.length - 1n) + 1n;
  if (end > END) fail("EOVERFLOW", `iova ${hex(iova)} plus length ${hex(request.length)} runs past 2^64`);
  if (page_size === 0n) fail("EINVAL", "page_size is 0");
  for (const size of [hwpt.ioas.table.alignment, page_size]) {
    if ((iova | end) & (size - 1n))
      fail("EINVAL", `iova ${hex(iova)} or its end ${hex(end)} is no multiple of ${hex(size)}`);
  }
  return refuseDirtyTracking(hwpt);
}

/** hw_pagetable.c:iommufd_hwpt_invalidate. How many entries were done goes back with an error too. */
export function invalidate(context: IommufdContext, command: Command): number {
  try {
    return refuseInvalidation(context, command);
  } finally {
    IommuHwptInvalidate.write(command.view, 0, { entry_num: 0 });
    command.respond(IommuHwptInvalidate);
  }
}

function refuseInvalidation(context: IommufdContext, command: Command): never {
  const request = IommuHwptInvalidate.read(command.view, 0);
  refuseReserved(request.__reserved);
  const { entry_num, entry_len } = request;
  const isBad = request.data_uptr === 0n || entry_len === 0 || entry_len > context.pageSize;
  if (entry_num > 0 && (isBad || entry_num > INVALIDATE_ENTRY_MAX)) {
    fail("EINVAL", `${entry_num} entries of ${entry_len} bytes at ${hex(request.data_uptr)}: a list has 1 to 2^19`);
  }
  const object =
    context.objects.get(request.hwpt_id) ?? fail("ENOENT", `there is no object with id ${request.hwpt_id}`);
  fail("EINVAL", `${object.label} is neither nested nor a virtual IOMMU: the kernel invalidates it itself`);
}

function findHwpt(context: IommufdContext, id: number): Hwpt {
  return context.objects.find(id, Hwpt, "hwpt");
}

function refuseDirtyTracking(hwpt: Hwpt): never {
  fail("EOPNOTSUPP", `${hwpt.label} was not made for dirty tracking, and ${hwpt.unit.label} has none`);
}
