import type { HostEntry } from "../../kernel/host-files.ts";
import { S_IFDIR, S_IFLNK, S_IFREG } from "../linux.ts";
import { ATTR } from "./protocol.ts";

/** What text attributes count as, whatever is in them (fs/sysfs/file.c:sysfs_add_file_mode_ns). */
export const TEXT_SIZE = 4096;
const DIRECTORY_MODE = 0o755;

/** Whose the files are, and since when they are there, in seconds. */
export interface Common {
  readonly uid: number;
  readonly gid: number;
  readonly born: number;
}

/** Writes struct fuse_attr, all of it being zeros. */
export function writeAttributes(to: DataView, at: number, id: number, entry: HostEntry, common: Common): void {
  to.setUint32(at + ATTR.ino, id, true);
  setU64(to, at + ATTR.size, sizeOf(entry));
  for (let n = 0; n < 3; n++) setU64(to, at + ATTR.times + 8 * n, common.born);
  to.setUint32(at + ATTR.mode, modeOf(entry), true);
  to.setUint32(at + ATTR.nlink, 1, true);
  to.setUint32(at + ATTR.uid, common.uid, true);
  to.setUint32(at + ATTR.gid, common.gid, true);
  to.setUint32(at + ATTR.blksize, TEXT_SIZE, true);
}

function setU64(to: DataView, at: number, value: number): void {
  to.setUint32(at, value >>> 0, true);
  to.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

function modeOf(entry: HostEntry): number {
  if (entry.kind === "directory") return S_IFDIR | DIRECTORY_MODE;
  return entry.kind === "link" ? S_IFLNK | 0o777 : S_IFREG | entry.file.mode;
}

function sizeOf(entry: HostEntry): number {
  if (entry.kind === "directory") return 0;
  if (entry.kind === "link") return Buffer.byteLength(entry.target);
  const { file } = entry;
  if (file.size !== undefined) return file.size;
  const { content } = file;
  return typeof content === "string" ? TEXT_SIZE : content.length;
}

/** A file's content as it is read: text is UTF-8, as in descriptions. */
export function bytesOf(content: string | Uint8Array): Buffer {
  return typeof content === "string" ? Buffer.from(content, "utf8") : Buffer.from(content);
}
