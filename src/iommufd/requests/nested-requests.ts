import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import {
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_DATA_VTD_S1,
  IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
  IOMMU_VTD_INV_FLAGS_LEAF,
  IommuHwptInvalidate,
  IommuHwptVtdS1,
  IommuHwptVtdS1Invalidate,
} from "../../uapi/iommufd-hwpt.ts";
import type { Layout } from "../../uapi/layout.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { BoundDevice } from "../devices/bound-device.ts";
import { driverOf } from "../devices/hardware.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { NestedHwpt } from "../nesting/nested-hwpt.ts";
import { VtdS1 } from "../nesting/vtd-s1.ts";
import { nestedFlags } from "./hwpt-flags.ts";
import { refuseReserved } from "./ioas-requests.ts";

const INVALIDATE_ENTRY_MAX = 2 ** 19;
const ALL_PAGES = 2n ** 64n - 1n;

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
  if (flags & ~nestedFlags(context.module.context.release) || data_len === 0 || !driverOf(unit).nests) {
    fail("EOPNOTSUPP", `${unit.label} nests no page table of this kind on ${parent.label}`);
  }
  if (parent.auto || !parent.isParent) {
    fail("EINVAL", `${parent.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
  }
  if (!unit.secondStage) fail("EOPNOTSUPP", `${unit.label} nests no page tables`);
  if (data_type !== IOMMU_HWPT_DATA_VTD_S1) {
    fail("EOPNOTSUPP", `data_type ${data_type} describes no table of ${unit.label} (it takes 1, VT-d stage 1)`);
  }
  const data = IommuHwptVtdS1.decode(copyExact(task, data_uptr, data_len, IommuHwptVtdS1));
  const stage1 = new VtdS1(data.pgtbl_addr, data.addr_width, data.flags);
  return new NestedHwpt(parent, stage1, (flags & IOMMU_HWPT_ALLOC_PASID) !== 0);
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
  // intel/nested.c:intel_nested_cache_invalidate_user
  if (data_type !== IOMMU_HWPT_INVALIDATE_DATA_VTD_S1) {
    fail("EINVAL", `data_type ${data_type} is no invalidation of a VT-d table (0)`);
  }
  for (; done.entries < entry_num; done.entries++) {
    const at = list + BigInt(done.entries * entry_len);
    const entry = copyExact(command.task, at, entry_len, IommuHwptVtdS1Invalidate);
    invalidateRange(object, IommuHwptVtdS1Invalidate.decode(entry), done.entries);
  }
}

interface Range {
  readonly addr: bigint;
  readonly npages: bigint;
  readonly flags: number;
  readonly __reserved: number;
}

function invalidateRange(hwpt: NestedHwpt, { addr, npages, flags, __reserved }: Range, index: number): void {
  const unknown = (flags & ~IOMMU_VTD_INV_FLAGS_LEAF) >>> 0;
  if (unknown || __reserved) {
    fail("EOPNOTSUPP", `entry ${index} has unknown flags ${hex(unknown)}, or its __reserved is not 0`);
  }
  if (addr & 0xfffn || (npages === ALL_PAGES && addr !== 0n)) {
    fail("EINVAL", `entry ${index}: address ${hex(addr)} is no page's first, or not 0 for all pages`);
  }
  const last = BigInt.asUintN(64, addr + npages * 4096n - 1n);
  hwpt.domain?.flushRange(addr, last, (flags & IOMMU_VTD_INV_FLAGS_LEAF) !== 0);
}

/**
 * A structure of a driver's, which has one size so far (iommu.h:__iommu_copy_struct_from_user).
 * @throws KernelError EINVAL (another size), EFAULT
 */
// biome-ignore lint/suspicious/noExplicitAny: a layout of any fields
function copyExact(task: Task, address: bigint, size: number, layout: Layout<any>): Uint8Array {
  if (size !== layout.size) fail("EINVAL", `struct ${layout.name} has ${layout.size} bytes, not ${size}`);
  const bytes = new Uint8Array(size);
  task.memory.copyIn(wordFromBigInt(address), bytes, size);
  return bytes;
}
