import { pageFromHalves } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VfioIommuSpaprTceRemove } from "../../uapi/vfio-spapr.ts";
import { UserStruct } from "../user-struct.ts";
import type { TceContainer } from "./tce-container.ts";
import { removeWindow } from "./windows.ts";

const SIZE = VfioIommuSpaprTceRemove.size;
const AT = VfioIommuSpaprTceRemove.offsets;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_SPAPR_TCE_REMOVE of the window that start_addr lies in: any address inside names it. A default window that
 * is only due is named by 0 alone, and is then never built. EPERM, ENXIO, EFAULT, EINVAL.
 */
export function tceRemove(container: TceContainer, task: Task, arg: Word): number {
  container.own(task);
  if (container.groups.length === 0) fail("ENXIO", "the container has no group");
  user.copyInSized(task, arg, SIZE, "vfio_iommu_spapr_tce_remove");
  const flags = user.u32(AT.flags);
  if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, must be 0`);
  const low = user.low(AT.start_addr);
  const high = user.high(AT.start_addr);
  if (container.defaultPending && low === 0 && high === 0) {
    container.defaultPending = false;
    return 0;
  }
  const window = container.windowAt(pageFromHalves(low, high));
  if (window === undefined) {
    fail("EINVAL", `bus address ${hex(user.u64(AT.start_addr))} lies in no window; ${container.windowsText}`);
  }
  removeWindow(container, window);
  return 0;
}
