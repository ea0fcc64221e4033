import type { FileContent } from "../../kernel/file-tree.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { AT_FDCWD, O_CREAT, O_WRONLY, S_IFREG } from "../linux.ts";
import { fileSizeLimit } from "../process-facts.ts";
import type { CallList } from "./call-list.ts";

export function writeFile(list: CallList, at: string, { content, mode, size }: FileContent): void {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  const fd = list.call(HOST_CALLS.openat, [AT_FDCWD, at, O_CREAT | O_WRONLY, mode], (errno) => failed(at, errno));
  if (bytes.length > 0) list.call(HOST_CALLS.write, [fd, bytes, bytes.length], (errno) => failed(at, errno));
  // Where a limit is in the way the file stays empty.
  if (size !== undefined && size <= largest()) list.call(HOST_CALLS.ftruncate, [fd, size]);
  list.call(HOST_CALLS.close, [fd]);
}

let limit: number | undefined;

function largest(): number {
  limit ??= fileSizeLimit();
  return limit;
}

/** An empty file, unless there is something. */
export function makeFile(list: CallList, at: string, mode: number): void {
  list.call(HOST_CALLS.mknodat, [AT_FDCWD, at, S_IFREG | mode, 0]);
}

export function failed(at: string, errno: string): InterposerError {
  return new InterposerError("tree-failed", `cannot make ${at} (${errno})`);
}
