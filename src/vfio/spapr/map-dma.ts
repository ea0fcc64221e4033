import { PAGE_SIZE, pageFromHalves } from "../../address/pages.ts";
import { TCE_READ, TCE_WRITE } from "../../iommu/tce/tce-table.ts";
import { pageSizeText, type TceWindow } from "../../iommu/tce/tce-window.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VfioIommuType1DmaMap } from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../user-struct.ts";
import { mapPastEnd, misalignedIova } from "./defects.ts";
import { USER_PAGES } from "./memory-region.ts";
import { entryOf } from "./space.ts";
import { isMultiple } from "./tce-alignment.ts";
import type { TceContainer } from "./tce-container.ts";
import { buildDefaultWindow } from "./windows.ts";

const SIZE = VfioIommuType1DmaMap.endOf("size");
const AT = VfioIommuType1DmaMap.offsets;
const ACCESS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

const user = new UserStruct(SIZE);

/**
 * VFIO_IOMMU_MAP_DMA: checks in the order of vfio_iommu_spapr_tce.c:tce_iommu_ioctl. What is mapped already is
 * replaced. When a page fails the request maps nothing, and what it had replaced so far is gone too. Returns 1 for a
 * misaligned iova.
 */
export function mapDma(container: TceContainer, task: Task, arg: Word): number {
  if (!container.enabled) fail("EPERM", notEnabled(container));
  user.copyInSized(task, arg, SIZE, "vfio_iommu_type1_dma_map");
  const flags = user.u32(AT.flags);
  if (flags & ~ACCESS) fail("EINVAL", `unknown flag bits ${hex((flags & ~ACCESS) >>> 0)} (known: ${hex(ACCESS)})`);
  buildDefaultWindow(container, task);
  const vaddrLow = user.low(AT.vaddr);
  const iovaLow = user.low(AT.iova);
  const sizeLow = user.low(AT.size);
  const iovaPage = pageFromHalves(iovaLow, user.high(AT.iova));
  const window = container.windowAt(iovaPage);
  if (window === undefined) {
    fail("ENXIO", `iova ${hex(user.u64(AT.iova))} lies in no window; ${container.windowsText}`);
  }
  const pages = pageFromHalves(sizeLow, user.high(AT.size));
  const vaddrPage = pageFromHalves(vaddrLow, user.high(AT.vaddr));
  if (!isMultiple(window, sizeLow, pages) || !isMultiple(window, vaddrLow, vaddrPage)) {
    fail(
      "EINVAL",
      `size ${hex(user.u64(AT.size))} and vaddr ${hex(user.u64(AT.vaddr))} must be multiples of the window's page, ${pageSizeText(window.pageShift)}`,
    );
  }
  if (!(flags & ACCESS)) fail("EINVAL", "neither READ nor WRITE is asked for");
  if (!isMultiple(window, iovaLow, iovaPage)) {
    container.context.warn(misalignedIova("VFIO_IOMMU_MAP_DMA", user.u64(AT.iova), window.pageShift));
    return 1;
  }
  const first = window.indexOf(iovaPage);
  const count = pages / window.span;
  const room = Math.min(count, window.table.entries - first);
  const permission = permissionOf(container, flags);
  const done = container.v2
    ? putRegistered(container, window, first, vaddrPage, room, permission)
    : putPinned(container, window, first, vaddrPage, room, permission);
  if (done === count) {
    if (pages > 0) for (const looker of container.lookers) looker.mapped(entryOf(iovaPage, pages, permission));
    return 0;
  }
  container.clear(window, first, first + done);
  if (done === room) failPastEnd(container, window);
  refusePage(container, window, vaddrPage + done * window.span);
}

/** What the device may do. Version and platform know READ and WRITE as seen from the device. */
function permissionOf(container: TceContainer, flags: number): number {
  const permission =
    (flags & VFIO_DMA_MAP_FLAG_READ ? TCE_READ : 0) | (flags & VFIO_DMA_MAP_FLAG_WRITE ? TCE_WRITE : 0);
  const { writeImpliesRead } = container.groups[0]!.endpoint;
  return permission & TCE_WRITE && writeImpliesRead ? permission | TCE_READ : permission;
}

/** Version 2 (tce_iommu_build_v2): every IOMMU page lies in one registered region. Returns how many were put. */
function putRegistered(
  container: TceContainer,
  window: TceWindow,
  first: number,
  vaddrPage: number,
  count: number,
  permission: number,
): number {
  const { regions } = container;
  const { table, span, pageShift } = window;
  let done = 0;
  while (done < count) {
    const page = vaddrPage + done * span;
    const region = regions.holding(page, span);
    if (region === undefined || region.pageShift < pageShift || !region.isContained(page)) return done;
    const end = done + Math.min(count - done, region.isUniform ? Math.floor(region.pagesFrom(page) / span) : 1);
    while (done < end) {
      const target = vaddrPage + done * span;
      const put = table.putRun(first + done, end - done, target, span, permission, region.id);
      if (put > 0) {
        region.mapped += put;
        done += put;
        continue;
      }
      region.mapped++;
      table.put(first + done, target, permission, region.id);
      container.letGo(table.owner);
      done++;
    }
  }
  return done;
}

/**
 * Version 1 (tce_iommu_build): the page of the memory behind each IOMMU page is pinned by itself, for writing whatever
 * the flags are. Only the default window can be here, and no memory has smaller pages than its 4K.
 */
function putPinned(
  container: TceContainer,
  window: TceWindow,
  first: number,
  vaddrPage: number,
  count: number,
  permission: number,
): number {
  const { ownerMemory: space } = container;
  const { table, span } = window;
  for (let i = 0, page = vaddrPage; i < count; i++, page += span) {
    const start = page - (page % (space.pageSize / PAGE_SIZE));
    const pin = start < USER_PAGES ? space.pin(start * PAGE_SIZE, 1, true, Number.POSITIVE_INFINITY) : -1;
    // memory of devices has addresses, but no pages
    if (pin >= 0 && space.charged === 0) space.unpin(pin);
    if (pin < 0 || space.charged === 0) return i;
    if (table.put(first + i, page, permission, pin)) container.letGo(table.owner);
  }
  return count;
}

/**
 * The request goes on where the window has ended: the hypervisor says so; on bare metal a kernel writes behind its
 * table.
 */
function failPastEnd(container: TceContainer, window: TceWindow): never {
  const { pastEnd } = container.groups[0]!.endpoint;
  const iova = user.u64(AT.iova);
  const size = user.u64(AT.size);
  const warning = mapPastEnd(iova, size, window.label);
  container.context.warn(warning);
  fail(pastEnd, warning);
}

/** Says why the memory at a page (4 KiB) cannot be mapped: EFAULT in version 1, EINVAL or EPERM in version 2. */
function refusePage(container: TceContainer, window: TceWindow, page: number): never {
  const vaddr = hex(BigInt(page) * BigInt(PAGE_SIZE));
  if (!container.v2) fail("EFAULT", `memory at vaddr ${vaddr} cannot be pinned: it is not mapped or not writable`);
  const size = pageSizeText(window.pageShift);
  const region = container.regions.holding(page, 1);
  if (region === undefined) {
    fail("EINVAL", `vaddr ${vaddr} is in no registered memory (VFIO_IOMMU_SPAPR_REGISTER_MEMORY comes first)`);
  }
  if (container.regions.holding(page, window.span) === undefined) {
    fail("EINVAL", `the IOMMU page at vaddr ${vaddr} (${size}) reaches beyond ${region.label}`);
  }
  if (region.pageShift < window.pageShift) {
    fail(
      "EINVAL",
      `${region.label} is good for IOMMU pages up to ${pageSizeText(region.pageShift)}, the window's are ${size}: register huge pages (hugetlbfs), aligned to their size, or take a window with smaller pages`,
    );
  }
  fail("EPERM", `the memory behind vaddr ${vaddr} consists of smaller pages than the window's, ${size}`);
}

/** Why nothing can be mapped or unmapped yet. */
export function notEnabled(container: TceContainer): string {
  return container.v2
    ? "no memory was ever registered in the container (VFIO_IOMMU_SPAPR_REGISTER_MEMORY comes first)"
    : "the container is not enabled (VFIO_IOMMU_ENABLE comes first)";
}
