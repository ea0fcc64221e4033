import fs from "node:fs";
import { Arena } from "../native/arena.ts";
import { briefly, closeBrief } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC } from "./linux.ts";
import { openPath } from "./path-stat.ts";

const arena = new Arena(8192);

/** The text of a small file below /proc/TID, or undefined when it cannot be read. */
export function readProc(tid: number, name: string): string | undefined {
  const fd = briefly(() => openPath(AT_FDCWD, `/proc/${tid}/${name}`, O_CLOEXEC));
  if (fd < 0) return undefined;
  const length = syscall(HOST_CALLS.read, fd, arena.address, arena.size);
  closeBrief(fd);
  return length < 0 ? undefined : arena.bytes.toString("latin1", 0, length);
}

/** The file flags of a descriptor, as open() and fcntl() know them; undefined when there is none. */
export function descriptorFlags(tid: number, fd: number): number | undefined {
  const flags = /^flags:\s*([0-7]+)/m.exec(readProc(tid, `fdinfo/${fd}`) ?? "");
  return flags ? Number.parseInt(flags[1]!, 8) : undefined;
}

/** The descriptors that a process has open; none when it is gone, or may not be looked at. */
export function descriptorsOf(pid: number): readonly string[] {
  try {
    return fs.readdirSync(`/proc/${pid}/fdinfo`);
  } catch {
    return [];
  }
}
