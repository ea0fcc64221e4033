import { PASID_MAX } from "../../iommu/pasid-pool.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VFIO_IOMMU_PASID_ALLOC, VFIO_IOMMU_PASID_FREE, VfioIommuType1PasidRequestV1 } from "../../uapi/vsva-v1.ts";
import { VfioIommuType1PasidRequest } from "../../uapi/vsva-v7.ts";
import type { ModelContext } from "../model-context.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { copySized } from "./user-bytes.ts";

/** VFIO_IOMMU_PASID_REQUEST of v7: the PASID is what the request returns. */
export function pasidRequestV7(container: NestingContainer, context: ModelContext, task: Task, arg: Word): number {
  const layout = VfioIommuType1PasidRequest;
  const { flags, range } = layout.decode(copySized(task, arg, layout.size, layout.name));
  if (isAllocation(flags)) return allocate(container, context, task, range.min, range.max);
  if (range.min > range.max) fail("EINVAL", `the range ${range.min}-${range.max} is empty`);
  free(container, task, range.min, range.max);
  return 0;
}

/** VFIO_IOMMU_PASID_REQUEST of v1: the PASID comes back in the structure. */
export function pasidRequestV1(container: NestingContainer, context: ModelContext, task: Task, arg: Word): number {
  const layout = VfioIommuType1PasidRequestV1;
  const { offsets } = layout;
  const head = copySized(task, arg, layout.endOf("flags"), "vfio_iommu_type1_pasid_request");
  if (!isAllocation(viewOf(head).getUint32(offsets.flags, true))) {
    const { free_pasid: pasid } = layout.decode(padded(copySized(task, arg, layout.endOf("free_pasid"), layout.name)));
    if (!container.hardware.pasids.isHeldBy(pasid, task.memory))
      fail("EINVAL", `PASID ${pasid} is not one that this process has allocated`);
    free(container, task, pasid, pasid);
    return 0;
  }
  const bytes = copySized(task, arg, layout.endOf("max"), "vfio_iommu_type1_pasid_request");
  const argsz = viewOf(bytes).getUint32(0, true);
  if (argsz < layout.size)
    fail("EINVAL", `argsz is ${argsz}, so that there is no room for the result; ${layout.size} are needed`);
  const { min, max } = layout.decode(padded(bytes));
  const pasid = allocate(container, context, task, min, max);
  const reply = padded(bytes);
  layout.write(new StructView(reply, true), 0, { result: pasid });
  try {
    task.memory.copyOut(arg, reply, reply.length);
  } catch (error) {
    // nobody would know the PASID
    container.hardware.pasids.free(pasid);
    throw error;
  }
  return 0;
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(VfioIommuType1PasidRequestV1.size);
  whole.set(bytes);
  return whole;
}

/** Both proposals have the same two bits. */
function isAllocation(flags: number): boolean {
  if (flags !== VFIO_IOMMU_PASID_ALLOC && flags !== VFIO_IOMMU_PASID_FREE) {
    fail("EINVAL", `flags are ${hex(flags)}; exactly one of ALLOC (1) and FREE (2) is needed`);
  }
  return flags === VFIO_IOMMU_PASID_ALLOC;
}

function allocate(container: NestingContainer, context: ModelContext, task: Task, min: number, max: number): number {
  if (min > max) fail("EINVAL", `the range ${min}-${max} is empty`);
  if (min > PASID_MAX) fail("EINVAL", `PASIDs end at ${PASID_MAX}, the range begins at ${min}`);
  const quota = context.numberParameter("vfio_iommu_type1/pasid_quota");
  return container.hardware.pasids.allocate(container, task.memory, min, max, quota);
}

/** What is bound to a PASID that goes is unbound first. */
function free(container: NestingContainer, task: Task, min: number, max: number): void {
  const { pasids } = container.hardware;
  for (const pasid of pasids.heldIn(task.memory, min, max)) pasids.free(pasid);
}
