import fs from "node:fs";
import { HOST_CALLS } from "../host-calls.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
} from "../linux.ts";
import type { CallList, Result } from "./call-list.ts";
import { failed } from "./file-calls.ts";

/** A directory that every kernel has, which holds the file system until its parts are where they belong. */
const HOLD = "/sys/block";
const FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/** Whether it can be tried at all. */
export function hasFuse(): boolean {
  return fs.existsSync("/dev/fuse") && fs.existsSync(HOLD);
}

/**
 * Mounts a FUSE file system for a process that has a mount namespace of its own. /dev/fuse must be opened in the user
 * namespace that it is mounted in (fs/fuse/inode.c:fuse_fill_super), so the process does it.
 * @param number what the descriptor of /dev/fuse is to be called in the process
 * @param owner whose the root directory is
 * @returns the result of the mount: 0, or what refuses it
 */
export function mountFuse(
  list: CallList,
  number: number,
  owner: { readonly uid: number; readonly gid: number },
): Result {
  const fd = list.call(HOST_CALLS.openat, [AT_FDCWD, "/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC, 0]);
  list.call(HOST_CALLS.dup3, [fd, number, O_CLOEXEC]);
  list.call(HOST_CALLS.close, [fd]);
  const options = `fd=${number},rootmode=40755,user_id=${owner.uid},group_id=${owner.gid},allow_other,default_permissions`;
  return list.call(HOST_CALLS.mount, ["uvfio", HOLD, "fuse", FLAGS, options]);
}

/**
 * Puts directories of the file system where they belong. Each call looks names up in it: somebody must serve it
 * meanwhile.
 */
export function placeFuse(list: CallList, roots: readonly string[]): void {
  for (const root of roots)
    list.call(HOST_CALLS.mount, [`${HOLD}${root}`, root, 0, MS_BIND, 0], (errno) => failed(root, errno));
  list.call(HOST_CALLS.umount2, [HOLD, MNT_DETACH]);
}
