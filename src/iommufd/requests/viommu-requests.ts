import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_HW_QUEUE_TYPE_DEFAULT,
  IOMMU_VEVENTQ_TYPE_DEFAULT,
  IOMMU_VIOMMU_TYPE_DEFAULT,
  IommuFaultAlloc,
  IommuHwQueueAlloc,
  IommuVdeviceAlloc,
  IommuVeventqAlloc,
  IommuViommuAlloc,
} from "../../uapi/iommufd-viommu.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { Hwpt } from "../devices/hwpt.ts";
import { FaultQueue } from "../events/fault-queue.ts";
import { FaultQueueFile } from "../events/fault-queue-file.ts";
import { refuseReserved } from "./ioas-requests.ts";

const END = 2n ** 64n;
/** eventq.c: VEVENTQ_MAX_DEPTH */
const VEVENTQ_DEPTH_MAX = 1 << 19;

/** eventq.c:iommufd_fault_alloc */
export function faultAlloc(context: IommufdContext, command: Command): number {
  const { flags } = IommuFaultAlloc.read(command.view, 0);
  if (flags) fail("EOPNOTSUPP", `unknown flag bits ${hex(flags)}`);
  // once to see that it can be written: a descriptor that was given out cannot be taken back
  command.respond(IommuFaultAlloc);
  const queue = new FaultQueue();
  context.objects.add(queue);
  const file = new FaultQueueFile(context, queue);
  const { files } = command.task;
  try {
    const fd = files.install(file, true);
    IommuFaultAlloc.write(command.view, 0, { out_fault_id: queue.id, out_fault_fd: fd });
  } catch (error) {
    file.release();
    context.objects.destroy(queue);
    throw error;
  }
  command.respond(IommuFaultAlloc);
  return 0;
}

/**
 * viommu.c:iommufd_viommu_alloc_ioctl. VT-d's driver has none: its guests' tables are nested without. Of the drivers
 * that have, none is behind an IOMMU here that makes parents, so that none is ever made.
 */
export function viommuAlloc(context: IommufdContext, command: Command): number {
  const request = IommuViommuAlloc.read(command.view, 0);
  if (request.flags || request.type === IOMMU_VIOMMU_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${request.type} is unknown`);
  }
  const { unit } = context.objects.find(request.dev_id, BoundDevice, "device");
  if (!unit.iommufd.virtualIommus) fail("EOPNOTSUPP", `${unit.label} has no virtual IOMMUs`);
  const hwpt = context.objects.find(request.hwpt_id, Hwpt, "hwpt");
  fail("EINVAL", `${hwpt.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
}

/** viommu.c:iommufd_vdevice_alloc_ioctl */
export function vdeviceAlloc(_context: IommufdContext, command: Command): number {
  return refuseVirtualIommu(IommuVdeviceAlloc.read(command.view, 0).viommu_id);
}

/** eventq.c:iommufd_veventq_alloc */
export function veventqAlloc(_context: IommufdContext, command: Command): number {
  const request = IommuVeventqAlloc.read(command.view, 0);
  if (request.flags || request.type === IOMMU_VEVENTQ_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${request.type} is unknown`);
  }
  refuseReserved(request.__reserved);
  const depth = request.veventq_depth;
  if (depth === 0 || depth > VEVENTQ_DEPTH_MAX)
    fail("EINVAL", `a queue holds 1 to ${VEVENTQ_DEPTH_MAX} events, not ${depth}`);
  return refuseVirtualIommu(request.viommu_id);
}

/** viommu.c:iommufd_hw_queue_alloc_ioctl */
export function hwQueueAlloc(_context: IommufdContext, command: Command): number {
  const request = IommuHwQueueAlloc.read(command.view, 0);
  if (request.flags || request.type === IOMMU_HW_QUEUE_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${request.type} is unknown`);
  }
  const { length, nesting_parent_iova: iova } = request;
  if (length === 0n) fail("EINVAL", "the length is 0");
  if (iova + length - 1n >= END) fail("EOVERFLOW", `address ${hex(iova)} plus length ${hex(length)} runs past 2^64`);
  return refuseVirtualIommu(request.viommu_id);
}

function refuseVirtualIommu(id: number): never {
  fail("ENOENT", `there is no virtual IOMMU with id ${id}: no IOMMU of this host makes one`);
}
