import type { IommuUnit } from "../../iommu/unit.ts";
import { readUserData, type UserData } from "../../iommu/user-data.ts";
import { fail, hex } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_DATA_NONE,
  IOMMU_HWPT_FAULT_ID_VALID,
  IommuHwptAlloc,
} from "../../uapi/iommufd-hwpt.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { Hwpt, secondStageFlags } from "../devices/hwpt.ts";
import type { PageTable } from "../devices/page-table.ts";
import { FaultQueue } from "../events/fault-queue.ts";
import { Ioas } from "../ioas.ts";
import { Viommu } from "../viommu/viommu.ts";
import { pagingFlags } from "./hwpt-flags.ts";
import { refuseReserved } from "./ioas-requests.ts";
import { makeNested, makeNestedOfViommu } from "./nested-requests.ts";

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
  const { flags } = request;
  const data = {
    task: command.task,
    type: request.data_type,
    address: request.data_uptr,
    length: request.data_len,
  };
  let hwpt: PageTable;
  if (parent instanceof Hwpt) {
    hwpt = makeNested(context, parent, device, flags, data);
  } else if (parent instanceof Viommu) {
    hwpt = makeNestedOfViommu(context, parent, device, flags, data);
  } else {
    if (!(parent instanceof Ioas)) fail("EINVAL", `a page table is made over an ioas, not over ${parent.label}`);
    refuseFlags(context, device, flags, request.data_len > 0);
    hwpt = new Hwpt(parent, device.unit, flags, describedTable(device.unit, data));
  }
  try {
    objects.add(hwpt);
    if (hwpt instanceof Hwpt) hwpt.join(command.task);
    if (request.flags & IOMMU_HWPT_FAULT_ID_VALID) {
      hwpt.reportTo(objects.find(request.fault_id, FaultQueue, "fault queue"));
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
function refuseFlags(context: IommufdContext, { unit }: BoundDevice, flags: number, hasData: boolean): void {
  const { hwptFlags } = unit.iommufd;
  if (hwptFlags === undefined && (flags || hasData)) fail("EOPNOTSUPP", `${unit.label} makes plain page tables only`);
  const known = pagingFlags(context.module.context.release);
  const unknown = (flags & ~known) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)} (known: ${hex(known)})`);
  if (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING && !unit.dirtyTracking) {
    fail("EOPNOTSUPP", `${unit.label} has no dirty tracking (iommu: dirty_tracking in the host file)`);
  }
  if (flags & IOMMU_HWPT_FAULT_ID_VALID && flags & IOMMU_HWPT_ALLOC_NEST_PARENT) {
    fail("EOPNOTSUPP", "a parent reports no faults: what is nested on it does");
  }
  const refused = flags & ~IOMMU_HWPT_FAULT_ID_VALID & ~((hwptFlags ?? 0) | secondStageFlags(unit));
  if (refused) fail("EOPNOTSUPP", `${unit.label} makes no page tables with flags ${hex(refused)}`);
  const beside = flags & ~IOMMU_HWPT_ALLOC_NEST_PARENT;
  if (unit.iommufd.parentsAlone && beside && beside !== flags) {
    fail("EOPNOTSUPP", `${unit.label} makes parents without other flags, not with ${hex(beside)}`);
  }
  if (hasData && !unit.iommufd.pagingData) {
    fail("EOPNOTSUPP", `${unit.label} takes no data for a page table over an ioas`);
  }
}

/** What a caller's data makes of a unit's tables; undefined without data. EOPNOTSUPP, EINVAL, EFAULT. */
function describedTable({ label, iommufd }: IommuUnit, data: UserData): ((unit: IommuUnit) => IommuUnit) | undefined {
  const { pagingData: format } = iommufd;
  if (data.length === 0 || !format) return undefined;
  if (data.type !== format.type) fail("EOPNOTSUPP", `data_type ${data.type} describes no page table of ${label}`);
  return readUserData(data, format);
}
