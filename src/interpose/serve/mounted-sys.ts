import fs from "node:fs";
import path from "node:path";
import type { HostFiles } from "../../kernel/host-files.ts";
import { Arena } from "../../native/arena.ts";
import { errnoName } from "../../uapi/errno.ts";
import type { FuseServer } from "../fuse/fuse-server.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { Launch } from "../launch/launch.ts";
import { close, syscall } from "../libc.ts";
import {
  AT_FDCWD,
  LOCK_EX,
  LOCK_NB,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  UMOUNT_NOFOLLOW,
} from "../linux.ts";
import { openPath } from "../path-stat.ts";
import { mayMount } from "../process-facts.ts";

const EMPTY = 0;
const TARGET = 8;
const arena = new Arena(TARGET + 4200);

/**
 * The host's /sys, mounted on a directory of this machine for containers to have: with everything of the real /sys that
 * the host has not got otherwise, as programs of `uvfio run` see it.
 */
export class MountedSys {
  /** Where it is mounted. */
  readonly path: string;
  /** Serves the host's part of it; undefined where /dev/fuse cannot be had. Closed by close(). */
  readonly fuse: FuseServer | undefined;
  /** Held as long as this process lives: nobody else uses the folder. */
  readonly #lock: number;

  /** InterposerError when it cannot be mounted. @param folder it is mounted on a folder in that, "sys" */
  constructor(folder: string, files: HostFiles) {
    if (!mayMount())
      throw new InterposerError("not-permitted", `--sysfs ${folder}: only root may mount (CAP_SYS_ADMIN)`);
    fs.mkdirSync(folder, { recursive: true });
    this.#lock = lock(folder);
    this.path = path.join(path.resolve(folder), "sys");
    // one that was left behind by a server that was killed
    for (; isMounted(this.path); ) if (this.#unmount() < 0) break;
    fs.mkdirSync(this.path, { recursive: true });
    const launch = new Launch([]);
    try {
      this.fuse = this.#mount(launch, files);
    } finally {
      launch.end();
    }
  }

  #mount(launch: Launch, files: HostFiles): FuseServer | undefined {
    const world = { files, nodes: [], cwd: "/", trapFstat: false, trapPathStat: false, trapReadOpens: false };
    const how = { userNamespace: false, serveFiles: true, supervisor: process.pid };
    const number = launch.copyTree({ ...world, ...how }, "/sys");
    const tree = syscall(HOST_CALLS.pidfd_getfd, launch.pidfd, number, 0);
    const from = arena.text(EMPTY, "");
    const to = arena.text(TARGET, this.path);
    const moved = syscall(HOST_CALLS.move_mount, tree, from, AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
    if (tree >= 0) close(tree);
    if (moved >= 0) return launch.fuse;
    launch.fuse?.close();
    throw new InterposerError("tree-failed", `${this.path}: /sys cannot be mounted there (${errnoName(-moved)})`);
  }

  /** Takes it away. Containers that have it keep a /sys whose files of the host cannot be read any more. */
  close(): void {
    this.#unmount();
    fs.rmdirSync(this.path);
    close(this.#lock);
  }

  #unmount(): number {
    return syscall(HOST_CALLS.umount2, arena.text(TARGET, this.path), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

function lock(folder: string): number {
  const fd = openPath(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && syscall(HOST_CALLS.flock, fd, LOCK_EX | LOCK_NB) === 0) return fd;
  throw new InterposerError("bad-input", `--sysfs ${folder}: another uvfio serve has it; name another folder`);
}

function isMounted(at: string): boolean {
  const mounts = fs.readFileSync("/proc/self/mountinfo", "latin1").split("\n");
  return mounts.some((line) => line.split(" ")[4] === at);
}
