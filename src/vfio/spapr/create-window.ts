import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VfioIommuSpaprTceCreate } from "../../uapi/vfio-spapr.ts";
import { UserStruct } from "../user-struct.ts";
import { replyLost } from "./defects.ts";
import type { TceContainer } from "./tce-container.ts";
import { buildDefaultWindow, createWindow } from "./windows.ts";

const SIZE = VfioIommuSpaprTceCreate.size;
const AT = VfioIommuSpaprTceCreate.offsets;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_SPAPR_TCE_CREATE: a new window, whose start the platform chooses and start_addr tells. The default window
 * is built first if it is due, so that right after SET_IOMMU one request takes both slots. Reserved fields are ignored.
 */
export function tceCreate(container: TceContainer, task: Task, arg: Word): number {
  container.own(task);
  if (container.groups.length === 0) fail("ENXIO", "the container has no group");
  user.copyInSized(task, arg, SIZE, "vfio_iommu_spapr_tce_create");
  const flags = user.u32(AT.flags);
  if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, must be 0`);
  buildDefaultWindow(container, task);
  const window = createWindow(container, task, {
    pageShift: user.u32(AT.page_shift),
    size: user.u64(AT.window_size),
    levels: user.u32(AT.levels),
  });
  user.setU64(AT.start_addr, window.startAddress);
  try {
    user.copyOut(task, arg, SIZE);
  } catch (error) {
    container.context.warn(replyLost(window.label));
    throw error;
  }
  return 0;
}
