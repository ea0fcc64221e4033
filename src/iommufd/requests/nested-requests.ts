import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import { readUserData, readUserEntry, type UserData, type UserDataArray } from "../../iommu/user-data.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import { IOMMU_HWPT_ALLOC_PASID, IOMMU_HWPT_FAULT_ID_VALID, IommuHwptInvalidate } from "../../uapi/iommufd-hwpt.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { BoundDevice } from "../devices/bound-device.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import { NestedHwpt } from "../nesting/nested-hwpt.ts";
import { Viommu } from "../viommu/viommu.ts";
import { nestedFlags } from "./hwpt-flags.ts";
import { refuseReserved } from "./ioas-requests.ts";

const INVALIDATE_ENTRY_MAX = 2 ** 19;

/** hw_pagetable.c:iommufd_hwpt_nested_alloc, and domain_alloc_nested of the IOMMU's driver */
export function makeNested(
  context: IommufdContext,
  parent: Hwpt,
  { unit }: BoundDevice,
  flags: number,
  data: UserData,
): NestedHwpt {
  if (flags & ~nestedFlags(context.module.context.release) || data.length === 0 || !unit.iommufd.nests) {
    fail("EOPNOTSUPP", `${unit.label} nests no page table of this kind on ${parent.label}`);
  }
  if (parent.auto || !parent.isParent) {
    fail("EINVAL", `${parent.label} was not made as a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)`);
  }
  if (!unit.secondStage) fail("EOPNOTSUPP", `${unit.label} nests no page tables`);
  const { tables, invalidations } = iommusOf(context);
  if (!tables) fail("EOPNOTSUPP", `${unit.label} nests page tables on a virtual IOMMU only`);
  if (data.type !== tables.type) {
    fail(
      "EOPNOTSUPP",
      `data_type ${data.type} describes no table of ${unit.label} (it takes ${tables.type}: struct ${tables.name})`,
    );
  }
  faultPoint("failslab");
  const pasidCompatible = (flags & IOMMU_HWPT_ALLOC_PASID) !== 0;
  return new NestedHwpt(parent, readUserData(data, tables), { pasidCompatible, over: parent, invalidations });
}

/** hw_pagetable.c:iommufd_viommu_alloc_hwpt_nested */
export function makeNestedOfViommu(
  context: IommufdContext,
  viommu: Viommu,
  { unit, label }: BoundDevice,
  flags: number,
  data: UserData,
): NestedHwpt {
  if (!viommu.isOf(unit)) fail("EINVAL", `${label} is behind another IOMMU than ${viommu.label} is a share of`);
  if (flags & ~nestedFlags(context.module.context.release)) fail("EOPNOTSUPP", `flags ${hex(flags)} are unknown`);
  if (data.length === 0) fail("EOPNOTSUPP", `a page table of ${viommu.label} wants data that describes it`);
  faultPoint("failslab");
  const { driver, parent } = viommu;
  return new NestedHwpt(parent, driver.nest(flags & ~IOMMU_HWPT_FAULT_ID_VALID, data), {
    pasidCompatible: (flags & IOMMU_HWPT_ALLOC_PASID) !== 0,
    over: viommu,
    invalidations: driver.tableInvalidations,
  });
}

/**
 * hw_pagetable.c:iommufd_hwpt_invalidate. How many entries were done goes back with an error too. A kernel keeps the
 * object until it has answered; here it may be destroyed between two steps, and what remains is done to nothing.
 */
export function invalidate(context: IommufdContext, command: Command): number | RequestSteps {
  const done = { entries: 0 };
  let steps: Generator<void, void> | undefined;
  try {
    steps = invalidateEntries(context, command, done);
  } catch (error) {
    tellDone(command, done);
    throw error;
  }
  if (steps) return answerAfter(steps, command.keep(), done);
  tellDone(command, done);
  return 0;
}

function* answerAfter(steps: Generator<void, void>, command: Command, done: { entries: number }): RequestSteps {
  try {
    yield* steps;
  } catch (error) {
    tellDone(command, done);
    throw error;
  }
  tellDone(command, done);
  return 0;
}

function tellDone(command: Command, done: { readonly entries: number }): void {
  IommuHwptInvalidate.write(command.view, 0, { entry_num: done.entries });
  command.respond(IommuHwptInvalidate);
}

/** Returns what remains to be done of a virtual IOMMU's; undefined when all is done. */
function invalidateEntries(
  context: IommufdContext,
  command: Command,
  done: { entries: number },
): Generator<void, void> | undefined {
  const request = IommuHwptInvalidate.read(command.view, 0);
  refuseReserved(request.__reserved);
  const { data_uptr: list, data_type, entry_num, entry_len } = request;
  const isBad = list === 0n || entry_len === 0 || entry_len > context.pageSize;
  if (entry_num > 0 && (isBad || entry_num > INVALIDATE_ENTRY_MAX)) {
    fail("EINVAL", `${entry_num} entries of ${entry_len} bytes at ${hex(list)}: a list has 1 to 2^19`);
  }
  const object =
    context.objects.get(request.hwpt_id) ?? fail("ENOENT", `there is no object with id ${request.hwpt_id}`);
  const array: UserDataArray = {
    task: command.task,
    type: data_type,
    address: list,
    entryLength: entry_len,
    entries: entry_num,
  };
  if (object instanceof NestedHwpt) {
    invalidateTable(object, array, done);
  } else if (object instanceof Viommu) {
    const { driver, label } = object;
    if (!driver.invalidate) fail("EOPNOTSUPP", `${label} takes no invalidations`);
    return driver.invalidate(array, done);
  } else {
    fail("EINVAL", `${object.label} is neither nested nor a virtual IOMMU: the kernel invalidates it itself`);
  }
}

/** cache_invalidate_user of the IOMMU's driver */
function invalidateTable(hwpt: NestedHwpt, array: UserDataArray, done: { entries: number }): void {
  const { invalidations, label, table } = hwpt;
  if (!invalidations) fail("EOPNOTSUPP", `${label} is invalidated through its virtual IOMMU`);
  if (array.type !== invalidations.type) {
    fail(
      "EINVAL",
      `data_type ${array.type} is no invalidation of ${label} (${invalidations.type}: struct ${invalidations.name})`,
    );
  }
  for (; done.entries < array.entries; done.entries++) {
    readUserEntry(array, done.entries, invalidations).apply(hwpt.domain, `entry ${done.entries}`, table);
  }
}

/** The IOMMUs that nested page tables and virtual IOMMUs are made for. */
export function iommusOf({ module }: IommufdContext): NestingIommus {
  return module.pasidHardware?.iommus ?? fail("EOPNOTSUPP", "no IOMMU of this host nests page tables");
}
