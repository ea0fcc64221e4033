import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";
import * as v1 from "../../uapi/vsva-v1.ts";
import * as v7 from "../../uapi/vsva-v7.ts";
import type { ModelContext } from "../model-context.ts";
import { invalidateCaches } from "./cache-request.ts";
import { guestTable } from "./guest-table.ts";
import { type Inner, readBindData, readCacheRequest } from "./iommu-data.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { pasidRequestV1, pasidRequestV7 } from "./pasid-request.ts";
import { copySized } from "./user-bytes.ts";

/** A request of the proposal v1; undefined for all other requests. */
export function vsvaV1(
  container: NestingContainer,
  context: ModelContext,
  task: Task,
  request: number,
  arg: Word,
): number | undefined {
  switch (request) {
    case v1.VFIO_IOMMU_PASID_REQUEST:
      return pasidRequestV1(container, context, task, arg);
    case v1.VFIO_IOMMU_BIND: {
      const { flags, inner } = head(task, arg, "vfio_iommu_type1_bind");
      if (flags === v1.VFIO_IOMMU_BIND_GUEST_PGTBL) return bind(container, context, task, inner);
      if (flags === v1.VFIO_IOMMU_UNBIND_GUEST_PGTBL) return unbind(container, context, task, inner);
      return fail("EINVAL", `flags are ${hex(flags)}; exactly one of BIND (1) and UNBIND (2) is needed`);
    }
    case v1.VFIO_IOMMU_CACHE_INVALIDATE: {
      const { flags, inner } = head(task, arg, "vfio_iommu_type1_cache_invalidate");
      if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, none is defined`);
      return invalidate(container, context, task, inner);
    }
  }
  return undefined;
}

/** A request of the proposal v7; undefined for all other requests. */
export function vsvaV7(
  container: NestingContainer,
  context: ModelContext,
  task: Task,
  request: number,
  arg: Word,
): number | undefined {
  switch (request) {
    case v7.VFIO_IOMMU_PASID_REQUEST:
      return pasidRequestV7(container, context, task, arg);
    case v7.VFIO_IOMMU_NESTING_OP: {
      const { flags, inner } = head(task, arg, "vfio_iommu_type1_nesting_op");
      if (flags & ~v7.VFIO_NESTING_OP_MASK)
        fail("EINVAL", `unknown flag bits ${hex((flags & ~v7.VFIO_NESTING_OP_MASK) >>> 0)}`);
      switch (flags) {
        case v7.VFIO_IOMMU_NESTING_OP_BIND_PGTBL:
          return bind(container, context, task, inner);
        case v7.VFIO_IOMMU_NESTING_OP_UNBIND_PGTBL:
          return unbind(container, context, task, inner);
        case v7.VFIO_IOMMU_NESTING_OP_CACHE_INVLD:
          return invalidate(container, context, task, inner);
      }
      return fail("EINVAL", `operation ${flags} is unknown (0 bind, 1 unbind, 2 invalidate)`);
    }
  }
  return undefined;
}

const HEAD = v7.VfioIommuType1NestingOp.endOf("flags");

/** argsz and flags, which all of them begin with, and where the structure of <linux/iommu.h> behind them lies. */
function head(task: Task, arg: Word, name: string): { flags: number; inner: Inner } {
  const view = viewOf(copySized(task, arg, HEAD, name));
  return { flags: view.getUint32(4, true), inner: { arg, offset: HEAD, room: view.getUint32(0, true) - HEAD } };
}

function bind(container: NestingContainer, context: ModelContext, task: Task, inner: Inner): number {
  const data = readBindData(task, inner, context.release);
  const binding = guestTable(data.root, data.addressWidth, data.flags);
  needOwn(container, task, data.pasid);
  if (container.groups.length === 0) fail("EINVAL", "the container has no group whose devices could be bound");
  if (container.isBound(data.pasid)) fail("EBUSY", `PASID ${data.pasid} is bound already; unbind it first`);
  container.bind(data.pasid, binding, task.memory);
  return 0;
}

function unbind(container: NestingContainer, context: ModelContext, task: Task, inner: Inner): number {
  const { pasid } = readBindData(task, inner, context.release);
  needOwn(container, task, pasid);
  container.unbind(pasid);
  return 0;
}

function invalidate(container: NestingContainer, context: ModelContext, task: Task, inner: Inner): number {
  const request = readCacheRequest(task, inner, context.release);
  if (request.pasid !== undefined) needOwn(container, task, request.pasid);
  invalidateCaches(container, request);
  return 0;
}

function needOwn(container: NestingContainer, task: Task, pasid: number): void {
  if (container.hardware.pasids.isHeldBy(pasid, task.memory)) return;
  fail("EINVAL", `PASID ${pasid} is not one that this process has allocated (VFIO_IOMMU_PASID_REQUEST)`);
}
