import { errnoName } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InterposerError } from "./interposer-error.ts";
import { syscall } from "./libc.ts";
import { AT_FDCWD, CLONE_NEWNS, MNT_DETACH, MS_REC, MS_SLAVE } from "./linux.ts";

const arena = new Arena(16384);
const TEXT_SPACE = 4096;

/** mount(2). Returns 0 or a negative errno. */
export function mount(source: string, target: string, type: string | null, flags: number, data: string | null): number {
  return syscall(
    HOST_CALLS.mount,
    arena.text(0, source),
    arena.text(TEXT_SPACE, target),
    type === null ? 0 : arena.text(2 * TEXT_SPACE, type),
    flags,
    data === null ? 0 : arena.text(3 * TEXT_SPACE, data),
  );
}

export function detach(target: string): number {
  return syscall(HOST_CALLS.umount2, arena.text(0, target), MNT_DETACH);
}

/** mknod(2) of a character device. Returns 0 or a negative errno: EPERM in a user namespace. */
export function makeCharacterDevice(path: string, mode: number, major: number, minor: number): number {
  const device = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);
  return syscall(HOST_CALLS.mknodat, AT_FDCWD, arena.text(0, path), 0o020000 | mode, device);
}

/**
 * Gives this thread a mount namespace of its own: what is mounted from here on only the program and its children see,
 * while mounts that the host makes later still come in.
 */
export function privateMounts(): void {
  const unshared = syscall(HOST_CALLS.unshare, CLONE_NEWNS);
  const result = unshared < 0 ? unshared : mount("none", "/", null, MS_REC | MS_SLAVE, null);
  if (result < 0) {
    throw new InterposerError(
      "not-permitted",
      `a mount namespace is refused (${errnoName(-result)}): in a container allow it, with docker run --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt apparmor=unconfined`,
    );
  }
}
