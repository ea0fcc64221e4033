import { fail, hex } from "../../kernel/errors.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import { IommuTestCmd } from "../../uapi/iommufd-test.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { Hwpt } from "../devices/hwpt.ts";
import { Ioas } from "../ioas.ts";
import type { MappedPages } from "../memory/mapped-pages.ts";
import { findIoas } from "../requests/ioas-requests.ts";
import type { SelftestGround } from "./ground.ts";
import { inSteps } from "./in-steps.ts";

const END = 2n ** 64n;
/** Pages of a dirty bitmap at most. */
const DIRTY_MAX = 2n ** 24n * 8n;
/** The least limit: one element of the core's smallest list, a pointer and a number. */
const MEMORY_LIMIT_MIN = 12;

/** selftest.c:iommufd_test_add_reserved */
export function addReserved(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, add_reserved } = IommuTestCmd.read(command.view, 0);
  const { start, length } = add_reserved;
  if (length === 0n) fail("EINVAL", "the length is 0");
  const last = start + length - 1n;
  if (last >= END) fail("EOVERFLOW", `start ${hex(start)} plus length ${hex(length)} runs past 2^64`);
  const label = "a range that a test has reserved";
  findIoas(context, id).table.reserve({ start, last, owner: {}, label, what: "reserved", of: "a test" });
  return 0;
}

/** SET_TEMP_MEMORY_LIMIT */
export function setMemoryLimit(_context: IommufdContext, ground: SelftestGround, command: Command): number {
  const { limit } = IommuTestCmd.read(command.view, 0).memory_limit;
  if (limit < MEMORY_LIMIT_MIN) fail("EINVAL", `the limit is ${limit} bytes, at least ${MEMORY_LIMIT_MIN} are needed`);
  ground.memoryLimit = limit;
  return 0;
}

/** selftest.c:iommufd_test_md_check_pa: behind each IOVA is the page that is behind the address. */
export function checkMap(context: IommufdContext, _ground: SelftestGround, command: Command): number | RequestSteps {
  const { id, check_map } = IommuTestCmd.read(command.view, 0);
  const { iova, length, uptr } = check_map;
  const hwpt = context.objects.find(id, Hwpt, "hwpt");
  const { pageSize } = hwpt;
  if ((iova | length | uptr) % pageSize !== 0n || uptr + length >= END) {
    fail("EINVAL", `iova, length and address are not all multiples of ${hex(pageSize)}`);
  }
  return inSteps(comparePages(command.task, hwpt, { iova, length, uptr }));
}

function* comparePages(
  { memory }: Task,
  hwpt: Hwpt,
  { iova, length, uptr }: { readonly iova: bigint; readonly length: bigint; readonly uptr: bigint },
): Generator<void, number> {
  const { pageSize, ioas } = hwpt;
  const bytes = BigInt(memory.pageSize);
  for (let done = 0n; done < length; done += pageSize) {
    const address = uptr + done;
    const identity = pageOf(memory, address);
    const area = ioas.table.areas.meeting(iova + done, iova + done);
    const offset = area?.offsetOf(iova + done);
    const mapped = offset === undefined ? undefined : area!.pages.identityOf(offset);
    if (mapped !== identity || offset! % bytes !== address % bytes) {
      fail("EINVAL", `iova ${hex(iova + done)} leads to another page than address ${hex(address)}, or to none`);
    }
    yield;
  }
  return 0;
}

/** selftest.c:iommufd_test_md_check_refs: each page is held so often, by whomever. Those of huge pages do not count. */
export function checkRefs(context: IommufdContext, _ground: SelftestGround, command: Command): number | RequestSteps {
  const { length, uptr, refs } = IommuTestCmd.read(command.view, 0).check_refs;
  const size = BigInt(context.pageSize);
  if ((length | uptr) % size !== 0n || uptr + length >= END) fail("EINVAL", `${hex(uptr)} or the length is no page's`);
  return inSteps(countPages(context, command.task, { length, uptr, refs }));
}

function* countPages(
  context: IommufdContext,
  { memory }: Task,
  { length, uptr, refs }: { readonly length: bigint; readonly uptr: bigint; readonly refs: number },
): Generator<void, number> {
  const held = new Map<string, number>();
  for (const pages of mappedPages(context)) {
    for (const identity of pages.heldPages()) {
      if (identity !== undefined) held.set(identity, (held.get(identity) ?? 0) + 1);
    }
    yield;
  }
  for (let address = uptr; address < uptr + length; address += BigInt(memory.pageSize)) {
    const identity = pageOf(memory, address);
    const count = held.get(identity) ?? 0;
    if (memory.hugePageShift(Number(address)) === 0 && count !== refs) {
      fail("EIO", `the page at ${hex(address)} is held ${count} times, not ${refs}`);
    }
    yield;
  }
  return 0;
}

/** All memory that any iommufd of the host maps. */
function mappedPages({ module }: IommufdContext): ReadonlySet<MappedPages> {
  const found = new Set<MappedPages>();
  for (const { objects } of module.contexts) {
    for (const object of objects) {
      if (object instanceof Ioas) for (const { pages } of object.table.areas) found.add(pages);
    }
  }
  return found;
}

/** get_user_pages_fast(): which page is there. EFAULT. */
export function pageOf(memory: Task["memory"], address: bigint): string {
  const page = address - (address % BigInt(memory.pageSize));
  const isThere = page <= BigInt(Number.MAX_SAFE_INTEGER) && memory.pinnable(Number(page), 1, false) === 1;
  const identity = isThere ? memory.pageIdentity(Number(page)) : undefined;
  return identity ?? fail("EFAULT", `there is no page at ${hex(address)}`);
}

/** selftest.c:iommufd_test_dirty: sets the dirty bits of entries of a page table, as its IOMMU would. */
export function setDirty(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, dirty: request } = IommuTestCmd.read(command.view, 0);
  const { iova, length, page_size: pageSize, uptr } = request;
  const isOdd = pageSize === 0n || length === 0n || iova % pageSize !== 0n || length % pageSize !== 0n;
  if (isOdd || uptr === 0n) fail("EINVAL", `iova and length are no multiples of page_size ${hex(pageSize)}, or 0`);
  const pages = length / pageSize;
  if (pages > DIRTY_MAX) fail("EOVERFLOW", `a bitmap of ${pages} pages is too long`);
  const hwpt = context.objects.find(id, Hwpt, "hwpt");
  if (!hwpt.dirty?.isTracking) fail("EINVAL", `${hwpt.label} does not track dirty pages now`);
  const bits = new Uint8Array(Number((pages + 7n) / 8n));
  command.task.memory.copyIn(wordFromBigInt(uptr), bits, bits.length);
  let count = 0;
  for (const [at, byte] of bits.entries()) {
    for (let rest = byte; rest !== 0; rest &= rest - 1) {
      const bit = at * 8 + (31 - Math.clz32(rest & -rest));
      if (bit >= pages) break;
      hwpt.entryWritten(iova + BigInt(bit) * pageSize);
      count++;
    }
  }
  IommuTestCmd.write(command.view, 0, { dirty: { ...request, out_nr_dirty: BigInt(count) } });
  command.respond(IommuTestCmd);
  return 0;
}
