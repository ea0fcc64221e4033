import { pageFromHalves } from "../../address/pages.ts";
import { pageSizeText } from "../../iommu/tce/tce-window.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VfioIommuType1DmaUnmap } from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../user-struct.ts";
import { misalignedIova, unmapPastEnd, unmapPastEndReturnsOne } from "./defects.ts";
import { notEnabled } from "./map-dma.ts";
import { isMultiple } from "./tce-alignment.ts";
import type { TceContainer } from "./tce-container.ts";
import { buildDefaultWindow } from "./windows.ts";

const SIZE = VfioIommuType1DmaUnmap.endOf("size");
const AT = VfioIommuType1DmaUnmap.offsets;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_UNMAP_DMA: empties all entries of a range, whatever requests mapped them; holes are no error, and nothing
 * is written back. Checks in the order of vfio_iommu_spapr_tce.c:tce_iommu_ioctl. Returns 1 for a misaligned iova.
 */
export function unmapDma(container: TceContainer, task: Task, arg: Word): number {
  if (!container.enabled) fail("EPERM", notEnabled(container));
  user.copyInSized(task, arg, SIZE, "vfio_iommu_type1_dma_unmap");
  const flags = user.u32(AT.flags);
  if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, must be 0`);
  buildDefaultWindow(container, task);
  const iovaLow = user.low(AT.iova);
  const sizeLow = user.low(AT.size);
  const iovaPage = pageFromHalves(iovaLow, user.high(AT.iova));
  const window = container.windowAt(iovaPage);
  if (window === undefined) {
    fail("ENXIO", `iova ${hex(user.u64(AT.iova))} lies in no window; ${container.windowsText}`);
  }
  const pages = pageFromHalves(sizeLow, user.high(AT.size));
  if (!isMultiple(window, sizeLow, pages)) {
    fail(
      "EINVAL",
      `size ${hex(user.u64(AT.size))} must be a multiple of the window's page, ${pageSizeText(window.pageShift)}`,
    );
  }
  const { context } = container;
  if (!isMultiple(window, iovaLow, iovaPage)) {
    context.warn(misalignedIova("VFIO_IOMMU_UNMAP_DMA", user.u64(AT.iova), window.pageShift));
    return 1;
  }
  const first = window.indexOf(iovaPage);
  const end = first + pages / window.span;
  if (end > window.table.entries) {
    if (context.release.has("tceUnmapEndChecked")) {
      context.warn(unmapPastEndReturnsOne(user.u64(AT.iova), user.u64(AT.size), window.label));
      return 1;
    }
    context.warn(unmapPastEnd(user.u64(AT.iova), user.u64(AT.size), window.label));
  }
  container.clear(window, first, end);
  return 0;
}
