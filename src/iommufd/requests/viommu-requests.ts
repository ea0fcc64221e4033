import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
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
import { AccessObject } from "../access-object.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { Hwpt } from "../devices/hwpt.ts";
import { FaultQueue } from "../events/fault-queue.ts";
import { FaultQueueFile } from "../events/fault-queue-file.ts";
import type { Ioas } from "../ioas.ts";
import { areContiguous } from "../memory/contiguous.ts";
import type { IommufdObject } from "../object-table.ts";
import { EventQueue } from "../viommu/event-queue.ts";
import { EventQueueFile } from "../viommu/event-queue-file.ts";
import { HwQueue } from "../viommu/hw-queue.ts";
import { Vdevice } from "../viommu/vdevice.ts";
import { Viommu } from "../viommu/viommu.ts";
import { refuseReserved } from "./ioas-requests.ts";
import { iommusOf } from "./nested-requests.ts";

const END = 2n ** 64n;
/** eventq.c: VEVENTQ_MAX_DEPTH */
const VEVENTQ_DEPTH_MAX = 1 << 19;
/** No list of pages is larger, in bytes: a size of 31 bits (mm/slub.c:__kvmalloc_node). */
const PAGE_LIST_MAX = 2n ** 31n;

/** eventq.c:iommufd_fault_alloc */
export function faultAlloc(context: IommufdContext, command: Command): number {
  const { flags } = IommuFaultAlloc.read(command.view, 0);
  if (flags) fail("EOPNOTSUPP", `unknown flag bits ${hex(flags)}`);
  // once to see that it can be written: a descriptor that was given out cannot be taken back
  command.respond(IommuFaultAlloc);
  const queue = new FaultQueue();
  addAndAnswer(context, queue, () => {
    const fd = installFile(command, new FaultQueueFile(context, queue));
    IommuFaultAlloc.write(command.view, 0, { out_fault_id: queue.id, out_fault_fd: fd });
  });
  command.respond(IommuFaultAlloc);
  return 0;
}

/** viommu.c:iommufd_viommu_alloc_ioctl. `__reserved` is not looked at there. */
export function viommuAlloc(context: IommufdContext, command: Command): number {
  const request = IommuViommuAlloc.read(command.view, 0);
  const { type, data_len: length, data_uptr: address } = request;
  if (request.flags || type === IOMMU_VIOMMU_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${type} is unknown`);
  }
  const { objects, windows, module } = context;
  const { unit } = objects.find(request.dev_id, BoundDevice, "device");
  const kind = unit.iommufd.virtualIommus?.find((each) => each.type === "any" || each.type === type);
  if (!kind) fail("EOPNOTSUPP", `${unit.label} has no virtual IOMMUs of type ${type}`);
  const hwpt = objects.find(request.hwpt_id, Hwpt, "hwpt");
  if (!hwpt.isParent) fail("EINVAL", `${hwpt.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
  const iommus = iommusOf(context);
  const { task } = command;
  const data = length > 0 ? { task, type, address, length } : undefined;
  const { littleEndian } = task.memory;
  const { pageSize, warn } = module.context;
  if (hwpt.unit.instance !== unit.instance) fail("EINVAL", `${hwpt.label} is of another IOMMU than ${unit.label}`);
  faultPoint("failslab");
  const viommu = new Viommu(hwpt, unit, { iommus, windows, littleEndian, pageSize, warn });
  addAndAnswer(context, viommu, () => {
    viommu.init(kind, data);
    IommuViommuAlloc.write(command.view, 0, { out_viommu_id: viommu.id });
    command.respond(IommuViommuAlloc);
  });
  return 0;
}

/** viommu.c:iommufd_vdevice_alloc_ioctl */
export function vdeviceAlloc(context: IommufdContext, command: Command): number {
  const { viommu_id, dev_id, virt_id } = IommuVdeviceAlloc.read(command.view, 0);
  const viommu = findViommu(context, viommu_id);
  const device = context.objects.find(dev_id, BoundDevice, "device");
  if (!viommu.isOf(device.unit)) fail("EINVAL", `${device.label} is behind another IOMMU than ${viommu.label}`);
  if (device.vdevice) fail("EEXIST", `${device.label} has a number in a virtual IOMMU: ${device.vdevice.label}`);
  const identity = context.module.requesters.find(device.name);
  if (!identity) fail("EINVAL", `${device.label} is behind no IOMMU`);
  const vdevice = new Vdevice(viommu, device, identity, virt_id);
  addAndAnswer(context, vdevice, () => {
    viommu.number(vdevice);
    IommuVdeviceAlloc.write(command.view, 0, { out_vdevice_id: vdevice.id });
    command.respond(IommuVdeviceAlloc);
  });
  return 0;
}

/** eventq.c:iommufd_veventq_alloc. The type is not looked at: a queue of one that the driver has not stays empty. */
export function veventqAlloc(context: IommufdContext, command: Command): number {
  const request = IommuVeventqAlloc.read(command.view, 0);
  const { type, veventq_depth: depth } = request;
  if (request.flags || type === IOMMU_VEVENTQ_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${type} is unknown`);
  }
  refuseReserved(request.__reserved);
  if (depth === 0 || depth > VEVENTQ_DEPTH_MAX)
    fail("EINVAL", `a queue holds 1 to ${VEVENTQ_DEPTH_MAX} events, not ${depth}`);
  const viommu = findViommu(context, request.viommu_id);
  const other = viommu.queueOf(type);
  if (other) fail("EEXIST", `${other.label} is the queue of ${viommu.label} for events of type ${type}`);
  // once to see that it can be written: a descriptor that was given out cannot be taken back
  command.respond(IommuVeventqAlloc);
  const queue = new EventQueue(viommu, type, depth);
  addAndAnswer(context, queue, () => {
    const fd = installFile(command, new EventQueueFile(context, queue));
    IommuVeventqAlloc.write(command.view, 0, { out_veventq_id: queue.id, out_veventq_fd: fd });
    command.respond(IommuVeventqAlloc);
  });
  return 0;
}

/** viommu.c:iommufd_hw_queue_alloc_ioctl */
export function hwQueueAlloc(context: IommufdContext, command: Command): number {
  const request = IommuHwQueueAlloc.read(command.view, 0);
  if (request.flags || request.type === IOMMU_HW_QUEUE_TYPE_DEFAULT) {
    fail("EOPNOTSUPP", `flags ${hex(request.flags)} or type ${request.type} is unknown`);
  }
  const { length, nesting_parent_iova: address, index } = request;
  if (length === 0n) fail("EINVAL", "the length is 0");
  if (address + length - 1n >= END) {
    fail("EOVERFLOW", `address ${hex(address)} plus length ${hex(length)} runs past 2^64`);
  }
  const viommu = findViommu(context, request.viommu_id);
  const { queues } = viommu.driver;
  if (queues?.type !== request.type) fail("EOPNOTSUPP", `${viommu.label} has no queues of type ${request.type}`);
  const queue = new HwQueue(viommu);
  addAndAnswer(context, queue, () => {
    queue.hold(holdQueue(context, command.task, viommu.parent.ioas, address, length));
    queue.started(queues.add({ object: queue, index, address, length }));
    IommuHwQueueAlloc.write(command.view, 0, { out_hw_queue_id: queue.id });
    command.respond(IommuHwQueueAlloc);
  });
  return 0;
}

/**
 * viommu.c:iommufd_hw_queue_alloc_phys: the hardware reads the queue by physical addresses, so that its pages must lie
 * side by side and stay. Memory of ordinary pages does not, but for one.
 * @throws KernelError ERANGE, ENOMEM, EADDRINUSE, and as a driver's holding of pages does; EFAULT for scattered pages
 */
function holdQueue(context: IommufdContext, task: Task, ioas: Ioas, address: bigint, length: bigint): AccessObject {
  const pageSize = BigInt(context.pageSize);
  const offset = address % pageSize;
  const rounded = offset + length + pageSize - 1n;
  if (rounded >= END) fail("ERANGE", `${hex(length)} bytes are no queue`);
  const pages = rounded / pageSize;
  if (pages * 8n > PAGE_LIST_MAX) fail("ENOMEM", `a queue of ${pages} pages is larger than a kernel can hold`);
  const object = new AccessObject(context, { locks: true });
  try {
    object.attach(ioas);
    const { pieces } = object.access.pinRange(task, address - offset, pages * pageSize, false);
    if (!areContiguous(pieces)) fail("EFAULT", "the pages of the queue do not lie side by side; take a huge page");
  } catch (error) {
    object.end();
    throw error;
  }
  return object;
}

function findViommu(context: IommufdContext, id: number): Viommu {
  return context.objects.find(id, Viommu, "virtual IOMMU");
}

/** The object gets its id, and goes again when what remains to be done fails. */
function addAndAnswer({ objects }: IommufdContext, object: IommufdObject, work: () => void): void {
  try {
    objects.add(object);
    work();
  } catch (error) {
    objects.destroy(object);
    throw error;
  }
}

/** A descriptor for a file, which goes when there is none. EMFILE. */
function installFile(command: Command, file: FileDescription): number {
  try {
    faultPoint("failslab");
    return command.task.files.install(file, true);
  } catch (error) {
    file.release();
    throw error;
  }
}
