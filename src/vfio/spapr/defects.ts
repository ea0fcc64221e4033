import { pageSizeText } from "../../iommu/tce/tce-window.ts";
import { hex } from "../../kernel/errors.ts";

/**
 * What this driver's kernel gets wrong, worded for the person whose program it meets (docs/kernel-defects.md lists all
 * of it). The request did what the kernel does; where that would corrupt or hang a kernel, the message says what
 * happened instead.
 */

/** In every message about a request that runs past its window: recordings of it cannot agree with the model. */
const PAST_END = "runs past the end of its window";

/**
 * Whether a warning or a reason says that a kernel would have corrupted its memory, so that what comes later is
 * anybody's guess.
 */
export function isCorruption(message: string): boolean {
  return message.includes(PAST_END);
}

/**
 * vfio_iommu_spapr_tce.c:tce_iommu_ioctl returns the truth value of iommu_tce_put_param_check() and
 * _clear_param_check().
 */
export function misalignedIova(request: string, iova: bigint, pageShift: number): string {
  return `${request} returned 1, which is no error, and did nothing: iova ${hex(iova)} is not a multiple of the window's page, ${pageSizeText(pageShift)} (kernel defect; test for != 0)`;
}

/** arch/powerpc/kernel/iommu.c:iommu_tce_check_ioba looks at the end since that release. */
export function unmapPastEndReturnsOne(iova: bigint, size: bigint, window: string): string {
  return `VFIO_IOMMU_UNMAP_DMA returned 1, which is no error, and did nothing: iova ${hex(iova)} + ${hex(size)} ends behind the window ${window} (kernel defect; test for != 0)`;
}

export function unmapPastEnd(iova: bigint, size: bigint, window: string): string {
  return `VFIO_IOMMU_UNMAP_DMA at iova ${hex(iova)} + ${hex(size)} ${PAST_END} ${window}: cleared up to the end; this kernel would have gone on behind its table on bare metal`;
}

export function mapPastEnd(iova: bigint, size: bigint, window: string): string {
  return `VFIO_IOMMU_MAP_DMA at iova ${hex(iova)} + ${hex(size)} ${PAST_END} ${window}: refused; a kernel would have written behind its table, or crashed`;
}

/** arch/powerpc/mm/book3s64/iommu_api.c:mm_iommu_do_alloc passes on what the last pin_user_pages() returned. */
export function partlyPinned(pinned: number): string {
  return `VFIO_IOMMU_SPAPR_REGISTER_MEMORY returned ${pinned}, which is no error, and registered nothing: only the beginning of the memory can be pinned (kernel defect; test for != 0)`;
}

/** vfio_iommu_spapr_tce.c:tce_iommu_unregister_pages ignores the answer of its last mm_iommu_put(). */
export function leftRegistered(region: string, mapped: number): string {
  return `VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY returned 0, but ${mapped} pages of ${region} are mapped: the container forgot the region, and it stays pinned, charged and mappable (kernel defect; unmap first)`;
}

/** vfio_iommu_spapr_tce.c:tce_iommu_create_table does not give the charge back. */
export function leakedCharge(pages: number, pageSize: number, reason: string): string {
  return `building a TCE table failed (${reason}), and the ${hex(pages * pageSize)} bytes charged for it stay locked memory until the process ends (kernel defect)`;
}

/** vfio_iommu_spapr_tce.c:tce_iommu_ioctl writes the reply after the window is made. */
export function replyLost(window: string): string {
  return `VFIO_IOMMU_SPAPR_TCE_CREATE fails because its reply cannot be written, but the window ${window} exists and holds its slot (kernel defect)`;
}
