import { ALL_ADDRESSES, type IovaRange } from "../../address/iova-ranges.ts";
import { DmaBufFile } from "../../kernel/dma-buf.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IommuIoasCopy,
  IommuIoasMap,
  IommuIoasMapFile,
  IommuIoasUnmap,
} from "../../uapi/iommufd.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { AreaAccess } from "../memory/area.ts";
import { chooseIova } from "../memory/choose-iova.ts";
import { hintOf, mapNew, mapSlices, type Slice } from "../memory/map-area.ts";
import { isUsual, mapFlat, numberAt } from "../memory/map-flat.ts";
import { dmaBufSlice, fileSlice, userSlice } from "../memory/new-pages.ts";
import { slicesOf } from "../memory/slices-of.ts";
import { cutText, lastOf, refuseLocked, type Unmapped, unmapInSteps } from "../memory/unmap-area.ts";
import { findIoas, refuseReserved } from "./ioas-requests.ts";

const LAST = 2n ** 64n - 1n;
const MAP_AT = IommuIoasMap.offsets;
const USER_FIELDS = { address: MAP_AT.user_va, length: MAP_AT.length, iova: MAP_AT.iova };
const UNMAP_FIELDS = { length: IommuIoasUnmap.offsets.length, iova: IommuIoasUnmap.offsets.iova };
/** By READABLE and WRITEABLE in the flags. */
const ACCESS: Readonly<Record<number, AreaAccess>> = {
  [IOMMU_IOAS_MAP_READABLE]: { readable: true, writeable: false },
  [IOMMU_IOAS_MAP_WRITEABLE]: { readable: false, writeable: true },
  [IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE]: { readable: true, writeable: true },
};
const KNOWN_FLAGS = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE;

/** ioas.c:iommufd_ioas_map */
export function ioasMap(context: IommufdContext, command: Command): number {
  if (mapUsual(context, command)) {
    command.respond(IommuIoasMap);
    return 0;
  }
  const request = IommuIoasMap.read(command.view, 0);
  refuseFlags(request.flags);
  refuseReserved(request.__reserved);
  const access = accessOf(request.flags, [request.iova, request.length]);
  const { table } = findIoas(context, request.ioas_id);
  const slice = userSlice(context, command.task, request.user_va, request.length, access.writeable);
  const iova = mapNew(table, slice, fixedAt(request.flags, request.iova), access);
  IommuIoasMap.write(command.view, 0, { iova });
  // a reply that cannot be written is an error although the mapping is made, as in the kernel
  command.respond(IommuIoasMap);
  return 0;
}

/** The same of a request with nothing odd about it; false for others, and when there is something to say. */
function mapUsual(context: IommufdContext, command: Command): boolean {
  const { words } = command;
  const flags = words.u32(MAP_AT.flags);
  const rights = flags & (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE);
  const isOdd = (flags & ~KNOWN_FLAGS) !== 0 || rights === 0 || words.u32(MAP_AT.__reserved) !== 0;
  if (isOdd || !isUsual(context, words, USER_FIELDS)) return false;
  const { table } = findIoas(context, words.u32(MAP_AT.ioas_id));
  if (!(flags & IOMMU_IOAS_MAP_FIXED_IOVA)) {
    if (words.low(MAP_AT.length) & table.mask) return false;
    words.setU64(MAP_AT.iova, chooseIova(table, words.u64(MAP_AT.user_va), words.u64(MAP_AT.length)));
    if (!isUsual(context, words, USER_FIELDS)) return false;
  }
  return mapFlat(context, table, command.task, words, USER_FIELDS, ACCESS[rights]!);
}

/** ioas.c:iommufd_ioas_map_file */
export function ioasMapFile(context: IommufdContext, command: Command): number {
  const request = IommuIoasMapFile.read(command.view, 0);
  refuseFlags(request.flags);
  const access = accessOf(request.flags, [request.iova, request.length]);
  const { table } = findIoas(context, request.ioas_id);
  const { fd, start, length } = request;
  if (length === 0n) fail("EINVAL", "the length is 0");
  if (start + length - 1n > LAST) fail("EOVERFLOW", `start ${hex(start)} plus length ${hex(length)} runs past 2^64`);
  const file = command.task.files.get(fd);
  if (!file) fail("EBADF", `file descriptor ${fd} is not open`);
  const slice = sliceOf(context, command.task, file, { start, length, writable: access.writeable });
  const iova = mapNew(table, slice, fixedAt(request.flags, request.iova), access);
  IommuIoasMapFile.write(command.view, 0, { iova });
  command.respond(IommuIoasMapFile);
  return 0;
}

function sliceOf(
  context: IommufdContext,
  task: Task,
  file: FileDescription,
  { start, length, writable }: { readonly start: bigint; readonly length: bigint; readonly writable: boolean },
): Slice {
  if (file instanceof DmaBufFile) return dmaBufSlice(context, task, file.buf, start, length, writable);
  const memory = file instanceof ForeignFile ? file : { label: file.label, memory: () => undefined };
  return fileSlice(context, task, memory, start, length, writable);
}

/** ioas.c:iommufd_ioas_copy */
export function ioasCopy(context: IommufdContext, command: Command): number {
  const request = IommuIoasCopy.read(command.view, 0);
  refuseFlags(request.flags);
  const access = accessOf(request.flags, [request.length, request.src_iova, request.dst_iova]);
  const slices: Slice[] = slicesOf(findIoas(context, request.src_ioas_id).table, request.src_iova, request.length);
  const { table } = findIoas(context, request.dst_ioas_id);
  for (const { pages } of slices) pages.account.hear(command.task);
  const iova = mapSlices(table, slices, fixedAt(request.flags, request.dst_iova), hintOf(slices[0]!), access);
  IommuIoasCopy.write(command.view, 0, { dst_iova: iova });
  command.respond(IommuIoasCopy);
  return 0;
}

/** ioas.c:iommufd_ioas_unmap. Of many mappings in steps. */
export function ioasUnmap(context: IommufdContext, command: Command): number | RequestSteps {
  if (unmapUsual(context, command)) {
    command.respond(IommuIoasUnmap);
    return 0;
  }
  const { ioas_id, iova, length } = IommuIoasUnmap.read(command.view, 0);
  const { table } = findIoas(context, ioas_id);
  const isAll = iova === 0n && length === LAST;
  if (!isAll) refuseHuge([iova, length]);
  const range = isAll ? ALL_ADDRESSES : { start: iova, last: lastOf(iova, length) };
  const steps = unmapInSteps(table, range.start, range.last);
  const { done, value } = steps.next();
  if (done) return answerUnmap(command, range, isAll, value);
  return unmapRest(command.keep(), range, isAll, steps);
}

/** The same of exactly one mapping, of memory that no other shows; false for all else. */
function unmapUsual(context: IommufdContext, { words }: Command): boolean {
  if (!isUsual(context, words, UNMAP_FIELDS)) return false;
  const { table } = findIoas(context, words.u32(IommuIoasUnmap.offsets.ioas_id));
  const start = numberAt(words, UNMAP_FIELDS.iova);
  const length = numberAt(words, UNMAP_FIELDS.length);
  if (!table.areas.isFlat(start, length)) return false;
  table.removeFlat(start, start + length - 1, 1);
  return true;
}

function* unmapRest(
  command: Command,
  range: IovaRange,
  isAll: boolean,
  steps: ReturnType<typeof unmapInSteps>,
): RequestSteps {
  yield;
  return answerUnmap(command, range, isAll, yield* steps);
}

function answerUnmap(command: Command, { start, last }: IovaRange, isAll: boolean, unmapped: Unmapped): number {
  const { bytes, cut } = unmapped;
  refuseLocked(unmapped);
  if (cut) fail("ENOENT", cutText(start, last, cut));
  if (bytes === 0n && !isAll) fail("ENOENT", `nothing is mapped in iova ${hex(start)}-${hex(last)}`);
  IommuIoasUnmap.write(command.view, 0, { length: bytes });
  command.respond(IommuIoasUnmap);
  return 0;
}

function refuseFlags(flags: number): void {
  const unknown = (flags & ~KNOWN_FLAGS) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)} (known: ${hex(KNOWN_FLAGS)})`);
}

/** The checks that MAP, MAP_FILE and COPY share between their flags and their objects. */
function accessOf(flags: number, values: readonly bigint[]): AreaAccess {
  refuseHuge(values);
  const readable = (flags & IOMMU_IOAS_MAP_READABLE) !== 0;
  const writeable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  if (!readable && !writeable) fail("EINVAL", "neither READABLE nor WRITEABLE is asked for");
  return { readable, writeable };
}

function refuseHuge(values: readonly bigint[]): void {
  if (values.includes(LAST)) fail("EOVERFLOW", "an address or a length is 2^64-1");
}

function fixedAt(flags: number, iova: bigint): bigint | undefined {
  return flags & IOMMU_IOAS_MAP_FIXED_IOVA ? iova : undefined;
}
