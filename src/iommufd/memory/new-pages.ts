import type { DmaBuf } from "../../kernel/dma-buf.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { ForeignFile } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { IommufdContext } from "../context.ts";
import { DmaBufPages } from "./dma-buf-pages.ts";
import type { Slice } from "./map-area.ts";
import { MappedPages } from "./mapped-pages.ts";
import { FilePages, type PageSource, UserPages } from "./page-source.ts";

const LAST = 2n ** 64n - 1n;

/** The caller's memory from `address` on. EOVERFLOW, EINVAL (pages.c:iopt_alloc_user_pages). */
export function userSlice(
  context: IommufdContext,
  task: Task,
  address: bigint,
  length: bigint,
  writable: boolean,
): Slice {
  if (address + length > LAST) fail("EOVERFLOW", `address ${hex(address)} plus length ${hex(length)} runs past 2^64`);
  const offset = address % BigInt(context.pageSize);
  const source = new UserPages(task.memory, address - offset);
  return newSlice(context, task, source, { address, offset, length, writable });
}

/** A file's bytes from `start` on. EINVAL, EOVERFLOW (io_pagetable.c:iopt_map_file_pages). */
export function fileSlice(
  context: IommufdContext,
  task: Task,
  file: Pick<ForeignFile, "memory" | "label">,
  start: bigint,
  length: bigint,
  writable: boolean,
): Slice {
  const offset = start % BigInt(context.pageSize);
  const source = new FilePages(file.memory(), file.label, start - offset, context.pageSize);
  try {
    return newSlice(context, task, source, { address: start, offset, length, writable });
  } catch (error) {
    source.release();
    throw error;
  }
}

/** A dma-buf's bytes from `start` on. EINVAL, ENODEV (pages.c:iopt_alloc_dmabuf_pages). */
export function dmaBufSlice(
  context: IommufdContext,
  task: Task,
  buf: DmaBuf,
  start: bigint,
  length: bigint,
  writable: boolean,
): Slice {
  if (BigInt(buf.size) < start + length) fail("EINVAL", `the dma-buf has ${hex(buf.size)} bytes only`);
  const { pageSize } = context;
  const offset = start % BigInt(pageSize);
  const source = new DmaBufPages(buf, Number(start - offset), pageSize);
  const account = context.module.accounts.uncounted(task);
  const pages = new MappedPages(source, start - offset, { writable, pageSize, account });
  return { pages, startByte: offset, length };
}

interface NewSlice {
  readonly address: bigint;
  /** In the first page. */
  readonly offset: bigint;
  readonly length: bigint;
  readonly writable: boolean;
}

/** pages.c:iopt_alloc_pages */
function newSlice(context: IommufdContext, task: Task, source: PageSource, slice: NewSlice): Slice {
  const { address, offset, length, writable } = slice;
  faultPoint("failslab");
  const { pageSize } = context;
  if (length === 0n) fail("EINVAL", "the length is 0");
  if (length > LAST - BigInt(pageSize)) fail("EINVAL", `length ${hex(length)} is nearly all of the address space`);
  const account = context.module.accounts.of(task, context.accountMode);
  const pages = new MappedPages(source, address - offset, { writable, pageSize, account });
  return { pages, startByte: offset, length };
}
