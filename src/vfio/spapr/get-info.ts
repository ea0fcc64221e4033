import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VFIO_IOMMU_SPAPR_INFO_DDW, VfioIommuSpaprTceInfo } from "../../uapi/vfio-spapr.ts";
import { UserStruct } from "../user-struct.ts";
import type { TceContainer } from "./tce-container.ts";

const MINIMUM = VfioIommuSpaprTceInfo.endOf("dma32_window_size");
const WITH_DDW = VfioIommuSpaprTceInfo.endOf("ddw");

const user = new UserStruct(VfioIommuSpaprTceInfo.size);

/**
 * VFIO_IOMMU_SPAPR_TCE_GET_INFO: what the platform offers the newest group, whatever windows there are. Version 2 says
 * by a flag that there is a part on dynamic windows; it is written to those only whose argsz has room for all of it,
 * and argsz stays as it was.
 */
export function getInfo(container: TceContainer, task: Task, arg: Word): number {
  const first = container.groups[0];
  if (first === undefined) fail("ENXIO", "the container has no group");
  user.copyInSized(task, arg, MINIMUM, "vfio_iommu_spapr_tce_info");
  const { facts } = first.endpoint;
  const hasDdw = container.v2 && facts.maxDynamicWindows !== 0;
  VfioIommuSpaprTceInfo.write(user.view, 0, {
    flags: hasDdw ? VFIO_IOMMU_SPAPR_INFO_DDW : 0,
    dma32_window_start: Number(BigInt.asUintN(32, facts.dma32Start)),
    dma32_window_size: Number(BigInt.asUintN(32, facts.dma32Size)),
    ddw: hasDdw
      ? { pgsizes: facts.pageSizes, max_dynamic_windows_supported: facts.maxDynamicWindows, levels: facts.levels }
      : { pgsizes: 0n, max_dynamic_windows_supported: 0, levels: 0 },
  });
  user.copyOut(task, arg, user.u32(0) >= WITH_DDW && container.context.release.has("spaprV2") ? WITH_DDW : MINIMUM);
  return 0;
}
