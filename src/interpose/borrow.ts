import fs from "node:fs";
import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { AT_FDCWD, O_ACCMODE, O_CLOEXEC } from "./linux.ts";
import { openPath } from "./path-stat.ts";

/**
 * A descriptor of ours for a file in memory that a process has open. Where descriptors may not be fetched
 * (pidfd_getfd(2) is refused) the file is opened once more, for what the process has it open for.
 * @returns a negative errno when it cannot be had
 */
export function borrowMemoryFile(pidfd: number, fd: number): number {
  const own = syscall(HOST_CALLS.pidfd_getfd, pidfd, fd, 0);
  if (own !== -ERRNO.EPERM) return own;
  const pid = field(`/proc/self/fdinfo/${pidfd}`, "Pid");
  const flags = field(`/proc/${pid}/fdinfo/${fd}`, "flags");
  if (pid === undefined || flags === undefined) return own;
  return openPath(AT_FDCWD, `/proc/${pid}/fd/${fd}`, (Number.parseInt(flags, 8) & O_ACCMODE) | O_CLOEXEC);
}

/** Where a process's descriptor stands in its file, as text; undefined when it cannot be seen. */
export function positionOf(pidfd: number, fd: number): string | undefined {
  const pid = field(`/proc/self/fdinfo/${pidfd}`, "Pid");
  return pid === undefined ? undefined : field(`/proc/${pid}/fdinfo/${fd}`, "pos");
}

function field(file: string, name: string): string | undefined {
  try {
    return new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(fs.readFileSync(file, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}
