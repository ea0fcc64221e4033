import fs from "node:fs";
import path from "node:path";
import { hasManyRoots } from "../fuse/fuse-server.ts";
import { HOST_CALLS } from "../host-calls.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDWR,
} from "../linux.ts";
import type { CallList, Result } from "./call-list.ts";
import { failed } from "./file-calls.ts";

/** A directory that every kernel has, which holds the file system until its parts are where they belong. */
const HOLD = "/sys/block";
/** Where root buses are, the only roots of which there may be many. */
const BUSES = "/sys/devices";
/** Bytes for a part of a list; the kernel reads a page at a time, which has more than LISTED entries. */
const ROOM = 4096;
const LISTED = 20;
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
  const isListed = (root: string) => hasManyRoots(roots) && path.dirname(root) === BUSES;
  const place = (root: string) =>
    list.call(HOST_CALLS.mount, [`${HOLD}${root}`, root, 0, MS_BIND, 0], (errno) => failed(root, errno));
  for (const root of roots) if (!isListed(root)) place(root);
  const listed = roots.filter(isListed);
  if (listed.length > 0) placeListed(list, BUSES, listed, place);
  list.call(HOST_CALLS.umount2, [HOLD, MNT_DETACH]);
}

/**
 * Lists a directory meanwhile: the kernel then knows what is in it without a request for each (READDIRPLUS). It asks
 * for that at the beginning, and further on when what it has learned so is looked for (fs/fuse/readdir.c:
 * fuse_use_readdirplus).
 */
function placeListed(list: CallList, directory: string, roots: readonly string[], place: (root: string) => void): void {
  const fd = list.call(HOST_CALLS.openat, [AT_FDCWD, `${HOLD}${directory}`, O_DIRECTORY | O_CLOEXEC]);
  const room = list.words(new Array<number>(ROOM / 8).fill(0));
  for (const [index, root] of roots.entries()) {
    if (index % LISTED === 0) list.call(HOST_CALLS.getdents64, [fd, room, ROOM]);
    place(root);
  }
  list.call(HOST_CALLS.close, [fd]);
}
