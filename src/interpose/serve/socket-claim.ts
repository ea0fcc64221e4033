import fs from "node:fs";
import path from "node:path";
import { ERRNO, errnoName } from "../../uapi/errno.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { close, syscall } from "../libc.ts";
import { AT_FDCWD, LOCK_EX, LOCK_NB, O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../linux.ts";
import { openPath } from "../path-stat.ts";
import { connectTo, fitsSocket, listenAt } from "./unix-socket.ts";

/** How long somebody else may be at it, in milliseconds. */
const CLAIM_MS = 2000;
const STEP_MS = 20;
/** Only its user's, until somebody says otherwise. */
const MODE = 0o600;

/** A socket in the file system that this process listens on. */
export class ClaimedSocket {
  readonly fd: number;
  readonly path: string;
  readonly #inode: number;

  /**
   * Makes the socket; one that nobody listens on any more is replaced. InterposerError when the path cannot be had.
   * @param mode who may connect: permission bits
   */
  constructor(at: string, mode = MODE) {
    this.path = path.resolve(at);
    if (!fitsSocket(this.path))
      throw new InterposerError("bad-input", `${at}: the path of a socket can have 107 bytes at most`);
    const folder = lockFolder(path.dirname(this.path), at);
    // from its start on nobody else may connect
    const mask = process.umask(0o777);
    try {
      this.fd = claim(this.path, at);
      fs.chmodSync(this.path, mode);
      this.#inode = fs.statSync(this.path).ino;
    } finally {
      process.umask(mask);
      close(folder);
    }
  }

  /** Takes it away again, unless it is somebody else's by now. */
  close(): void {
    close(this.fd);
    try {
      if (fs.statSync(this.path).ino === this.#inode) fs.unlinkSync(this.path);
    } catch {
      // somebody has removed it
    }
  }
}

/** Two that replace a stale socket at once would lose one of theirs: its folder is locked meanwhile. */
function lockFolder(folder: string, shown: string): number {
  const fd = openPath(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw new InterposerError("bad-input", `${shown}: its folder cannot be opened (${errnoName(-fd)})`);
  for (let waited = 0; syscall(HOST_CALLS.flock, fd, LOCK_EX | LOCK_NB) < 0; waited += STEP_MS) {
    if (waited >= CLAIM_MS) {
      close(fd);
      throw new InterposerError("host-failed", `${shown}: somebody else holds a lock on its folder`);
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STEP_MS);
  }
  return fd;
}

function claim(at: string, shown: string): number {
  const fd = listenAt(at);
  if (fd >= 0) return fd;
  if (fd !== -ERRNO.EADDRINUSE)
    throw new InterposerError("bad-input", `${shown}: no socket can be made there (${errnoName(-fd)})`);
  if (!fs.lstatSync(at).isSocket())
    throw new InterposerError(
      "bad-input",
      `${shown}: there is something else than a socket; remove it, or name another`,
    );
  const other = connectTo(at);
  if (other >= 0) close(other);
  if (other !== -ERRNO.ECONNREFUSED)
    throw new InterposerError(
      "bad-input",
      `${shown}: somebody serves there already; uvfio stop --socket ${shown} ends it, or name another with --socket`,
    );
  fs.unlinkSync(at);
  const again = listenAt(at);
  if (again < 0) throw new InterposerError("bad-input", `${shown}: no socket can be made there (${errnoName(-again)})`);
  return again;
}
