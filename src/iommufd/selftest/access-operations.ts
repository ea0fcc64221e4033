import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import {
  IommuTestCmd,
  MOCK_ACCESS_RW_SLOW_PATH,
  MOCK_ACCESS_RW_WRITE,
  MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES,
  MOCK_FLAGS_ACCESS_SYZ,
  MOCK_FLAGS_ACCESS_WRITE,
} from "../../uapi/iommufd-test.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { findIoas } from "../requests/ioas-requests.ts";
import { AccessFile, accessFile, type HeldItem } from "./access-file.ts";
import type { SelftestGround } from "./ground.ts";
import { inSteps } from "./in-steps.ts";
import { pageOf } from "./memory-operations.ts";

/** Bytes of one access at most. */
const LENGTH_MAX = 2n ** 24n;
const HALF = 2n ** 32n;

/** selftest.c:iommufd_test_create_access */
export function createAccess(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, create_access } = IommuTestCmd.read(command.view, 0);
  const { flags } = create_access;
  refuseFlags(flags, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
  // once to see that it can be written: a descriptor that was given out cannot be taken back
  command.respond(IommuTestCmd);
  const file = new AccessFile(context, (flags & MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES) !== 0);
  let fd: number;
  try {
    faultPoint("failslab");
    file.attach(findIoas(context, id));
    fd = command.task.files.install(file, true);
  } catch (error) {
    file.release();
    throw error;
  }
  IommuTestCmd.write(command.view, 0, { create_access: { out_access_fd: fd, flags } });
  command.respond(IommuTestCmd);
  return 0;
}

/** selftest.c:iommufd_test_access_replace_ioas. ENOENT where it is attached to nothing. */
export function accessReplaceIoas(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, access_replace_ioas } = IommuTestCmd.read(command.view, 0);
  const file = accessFile(command.task, id);
  if (!file.object.ioas) fail("ENOENT", `${file.label} is attached to no address space`);
  file.attach(findIoas(context, access_replace_ioas.ioas_id));
  return 0;
}

/** selftest.c:iommufd_test_access_pages */
export function accessPages(
  _context: IommufdContext,
  _ground: SelftestGround,
  command: Command,
): number | RequestSteps {
  const { id, access_pages: request } = IommuTestCmd.read(command.view, 0);
  const { flags, length } = request;
  refuseLong(length);
  refuseFlags(flags, MOCK_FLAGS_ACCESS_WRITE | MOCK_FLAGS_ACCESS_SYZ);
  const file = accessFile(command.task, id);
  const iova = iovaOf(file, flags, request.iova);
  const item = file.pin(command.task, { iova, length, write: (flags & MOCK_FLAGS_ACCESS_WRITE) !== 0 });
  return inSteps(checkAndAnswer(command.keep(), file, item));
}

/** What is held is given back when it is not what the caller has, or when the caller cannot be answered. */
function* checkAndAnswer(command: Command, file: AccessFile, item: HeldItem): Generator<void, number> {
  const { access_pages: request } = IommuTestCmd.read(command.view, 0);
  try {
    if (request.uptr !== 0n) yield* comparePages(command.task, file, item, request.uptr);
    const number = file.number(item);
    IommuTestCmd.write(command.view, 0, { access_pages: { ...request, out_access_pages_id: number } });
    command.respond(IommuTestCmd);
  } catch (error) {
    file.letGo(item);
    throw error;
  }
  return 0;
}

/** selftest.c:iommufd_test_access_item_destroy */
export function destroyAccessPages(_context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, destroy_access_pages } = IommuTestCmd.read(command.view, 0);
  accessFile(command.task, id).unpin(destroy_access_pages.access_pages_id);
  return 0;
}

/** selftest.c:iommufd_test_access_rw. Both of a kernel's ways to move bytes are one here: SLOW_PATH changes nothing. */
export function accessReadWrite(_context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, access_rw: request } = IommuTestCmd.read(command.view, 0);
  const { flags, length, uptr } = request;
  refuseLong(length);
  refuseFlags(flags, MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH | MOCK_FLAGS_ACCESS_SYZ);
  const { task } = command;
  const file = accessFile(task, id);
  faultPoint("failslab");
  const bytes = new Uint8Array(Number(length));
  const address = wordFromBigInt(uptr);
  const writes = (flags & MOCK_ACCESS_RW_WRITE) !== 0;
  if (writes) task.memory.copyIn(address, bytes, bytes.length);
  const iova = iovaOf(file, flags, request.iova);
  const { access } = file.object;
  if (writes) {
    access.write(task, iova, bytes);
  } else {
    access.read(task, iova, bytes);
    task.memory.copyOut(address, bytes, bytes.length);
  }
  return 0;
}

/** selftest.c:iommufd_test_check_pages: the pages are those behind an address. EFAULT, EBADE. */
function* comparePages({ memory }: Task, file: AccessFile, item: HeldItem, uptr: bigint): Generator<void, void> {
  let address = uptr;
  const size = BigInt(memory.pageSize);
  for (const { area, holder } of item.range.pieces) {
    for (let page = holder.start; page <= holder.last; page++, address += size) {
      const identity = pageOf(memory, address);
      // in between, an unmap may have asked for them
      if (!file.holds(item) || area.pages.identityOf(page * size) !== identity) {
        fail("EBADE", `another page is held than the one at ${hex(address)}`);
      }
      yield;
    }
  }
}

function iovaOf(file: AccessFile, flags: number, iova: bigint): bigint {
  if (!(flags & MOCK_FLAGS_ACCESS_SYZ)) return iova;
  const table = file.object.ioas?.table;
  return table ? nthIova(table, iova) : 0n;
}

/**
 * selftest.c:__iommufd_test_syz_conv_iova: a number of a mapping and an offset in it, which a fuzzer hits. 0 where
 * there is no such mapping.
 */
export function nthIova(table: IoPageTable, packed: bigint): bigint {
  let rest = packed % HALF;
  for (const { start } of table.areas) {
    if (rest === 0n) return start + packed / HALF;
    rest--;
  }
  return 0n;
}

function refuseLong(length: bigint): void {
  if (length > LENGTH_MAX) fail("ENOMEM", `${hex(length)} bytes are more than the ${hex(LENGTH_MAX)} of one access`);
}

function refuseFlags(flags: number, known: number): void {
  const unknown = (flags & ~known) >>> 0;
  if (unknown) fail("EOPNOTSUPP", `unknown flag bits ${hex(unknown)} (known: ${hex(known)})`);
}
