import type { UserFormat } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import { IOMMU_HWPT_ALLOC_PASID, IommuHwptInvalidate } from "../../uapi/iommufd-hwpt.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { BoundDevice } from "../devices/bound-device.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { NestedHwpt } from "../nesting/nested-hwpt.ts";
import { nestedFlags } from "./hwpt-flags.ts";
import { refuseReserved } from "./ioas-requests.ts";

const INVALIDATE_ENTRY_MAX = 2 ** 19;

/** What a request for a nested page table says. */
interface NestedRequest {
  readonly flags: number;
  readonly data_type: number;
  readonly data_len: number;
  readonly data_uptr: bigint;
}

/** hw_pagetable.c:iommufd_hwpt_nested_alloc, intel/nested.c:intel_iommu_domain_alloc_nested */
export function makeNested(
  context: IommufdContext,
  task: Task,
  parent: Hwpt,
  { unit }: BoundDevice,
  request: NestedRequest,
): NestedHwpt {
  const { flags, data_type, data_len, data_uptr } = request;
  if (flags & ~nestedFlags(context.module.context.release) || data_len === 0 || !unit.iommufd.nests) {
    fail("EOPNOTSUPP", `${unit.label} nests no page table of this kind on ${parent.label}`);
  }
  if (parent.auto || !parent.isParent) {
    fail("EINVAL", `${parent.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
  }
  if (!unit.secondStage) fail("EOPNOTSUPP", `${unit.label} nests no page tables`);
  const { tables } = iommusOf(context);
  if (data_type !== tables.type) {
    fail(
      "EOPNOTSUPP",
      `data_type ${data_type} describes no table of ${unit.label} (it takes ${tables.type}: struct ${tables.name})`,
    );
  }
  const table = copyExact(task, data_uptr, data_len, tables);
  return new NestedHwpt(parent, table, (flags & IOMMU_HWPT_ALLOC_PASID) !== 0);
}

/** hw_pagetable.c:iommufd_hwpt_invalidate. How many entries were done goes back with an error too. */
export function invalidate(context: IommufdContext, command: Command): number {
  const done = { entries: 0 };
  try {
    invalidateEntries(context, command, done);
  } finally {
    IommuHwptInvalidate.write(command.view, 0, { entry_num: done.entries });
    command.respond(IommuHwptInvalidate);
  }
  return 0;
}

function invalidateEntries(context: IommufdContext, command: Command, done: { entries: number }): void {
  const request = IommuHwptInvalidate.read(command.view, 0);
  refuseReserved(request.__reserved);
  const { data_uptr: list, data_type, entry_num, entry_len } = request;
  const isBad = list === 0n || entry_len === 0 || entry_len > context.pageSize;
  if (entry_num > 0 && (isBad || entry_num > INVALIDATE_ENTRY_MAX)) {
    fail("EINVAL", `${entry_num} entries of ${entry_len} bytes at ${hex(list)}: a list has 1 to 2^19`);
  }
  const object =
    context.objects.get(request.hwpt_id) ?? fail("ENOENT", `there is no object with id ${request.hwpt_id}`);
  if (!(object instanceof NestedHwpt)) {
    fail("EINVAL", `${object.label} is neither nested nor a virtual IOMMU: the kernel invalidates it itself`);
  }
  const { invalidations } = iommusOf(context);
  if (data_type !== invalidations.type) {
    fail(
      "EINVAL",
      `data_type ${data_type} is no invalidation of ${object.label} (${invalidations.type}: struct ${invalidations.name})`,
    );
  }
  for (; done.entries < entry_num; done.entries++) {
    const at = list + BigInt(done.entries * entry_len);
    copyExact(command.task, at, entry_len, invalidations).apply(object.domain, `entry ${done.entries}`);
  }
}

/** The IOMMUs that nested page tables were made for, or are to be. */
function iommusOf({ module }: IommufdContext): NestingIommus {
  return module.pasidHardware?.iommus ?? fail("EOPNOTSUPP", "no IOMMU of this host nests page tables");
}

/**
 * A structure of a driver's, which has one size so far (iommu.h:__iommu_copy_struct_from_user).
 * @throws KernelError EINVAL (another size), EFAULT
 */
function copyExact<T>(task: Task, address: bigint, size: number, format: UserFormat<T>): T {
  if (size !== format.size) fail("EINVAL", `struct ${format.name} has ${format.size} bytes, not ${size}`);
  const bytes = new Uint8Array(size);
  task.memory.copyIn(wordFromBigInt(address), bytes, size);
  return format.decode(bytes);
}
