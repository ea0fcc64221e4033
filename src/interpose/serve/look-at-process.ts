import fs from "node:fs";
import { close } from "../libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDWR } from "../linux.ts";
import { lastStat, openPath, statDescriptor, statPath } from "../path-stat.ts";
import { readProc } from "../proc-file.ts";

/** Major and minor number of /dev/fuse (include/linux/miscdevice.h: FUSE_MINOR). */
const FUSE_DEVICE = "10:229";

/** The parent of a process; undefined when that is gone. */
export function parentOf(pid: number): number | undefined {
  const stat = readProc(pid, "stat");
  // The name in brackets may hold anything. Behind it: state, parent
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

/** Whether this process may read and write the memory of another: what serving it takes. */
export function mayLookInto(pid: number): boolean {
  const mem = openPath(AT_FDCWD, `/proc/${pid}/mem`, O_RDWR | O_CLOEXEC);
  if (mem < 0) return false;
  close(mem);
  return true;
}

/** Whether a process is in another user namespace than this one. */
export function isInOtherNamespace(pid: number): boolean {
  if (statPath(AT_FDCWD, `/proc/${pid}/ns/user`) < 0) return true;
  const theirs = lastStat.inode;
  return statPath(AT_FDCWD, "/proc/self/ns/user") < 0 || lastStat.inode !== theirs;
}

/** Whether a descriptor of ours is a seccomp listener. */
export function isListener(fd: number): boolean {
  return readLink(fd) === "anon_inode:seccomp notify";
}

/** Whether a descriptor of ours is an open /dev/fuse. */
export function isFuse(fd: number): boolean {
  return statDescriptor(fd) === 0 && lastStat.device === FUSE_DEVICE;
}

function readLink(fd: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
