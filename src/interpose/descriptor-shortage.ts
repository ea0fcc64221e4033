import { fail } from "../kernel/errors.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD, F_DUPFD_CLOEXEC, O_CLOEXEC, O_RDONLY, RLIMIT_NOFILE } from "./linux.ts";
import { openPath } from "./path-stat.ts";

/** So many descriptors at once take the looks of one call: into /proc, along a path. */
const SPARES = 6;
const spares: number[] = [];
let isMet = false;
/** struct rlimit64 */
const limit = new Arena(16);

/**
 * Lays descriptors by, so that calls can be looked at, and told from those on other files, when there are no others
 * left.
 */
export function keepSpares(): void {
  if (spares.length >= SPARES) return;
  const first = spares[0] ?? openPath(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC);
  if (first < 0) return;
  if (spares.length === 0) spares.push(first);
  while (spares.length < SPARES) {
    const more = syscall(HOST_CALLS.fcntl, first, F_DUPFD_CLOEXEC, 0);
    if (more < 0) return;
    spares.push(more);
  }
}

export function dropSpares(): void {
  for (const fd of spares.splice(0)) close(fd);
}

/**
 * Does what opens descriptors and closes them again, if need be with those laid by. @param open returns a descriptor or
 * a negative errno
 */
export function briefly(open: () => number): number {
  let fd = open();
  while (isShortage(fd) && spares.length > 0) {
    close(spares.pop()!);
    fd = open();
  }
  isMet ||= isShortage(fd);
  return fd;
}

/** Closes what briefly() opened. */
export function closeBrief(fd: number): void {
  close(fd);
  if (spares.length < SPARES) keepSpares();
}

/**
 * Passes on the result of a call of ours that makes a descriptor to keep. That we have no more is for the program as if
 * the system had none: its own limit is another one.
 * @returns ENFILE in the place of EMFILE
 */
export function noteShortage(result: number): number {
  if (!isShortage(result)) return result;
  isMet = true;
  return -ERRNO.ENFILE;
}

/** Fails the call in hand when a call of ours found no descriptor free. */
export function refuseShortage(result: number): void {
  if (isShortage(noteShortage(result))) failShort();
}

/** Fails the call in hand when one of ours for it was noted so. */
export function refuseNotedShortage(): void {
  if (isMet) failShort();
}

/** How many descriptors we may have (RLIMIT_NOFILE); undefined when that cannot be known. */
export function descriptorLimit(): number | undefined {
  return syscall(HOST_CALLS.prlimit64, 0, RLIMIT_NOFILE, 0, limit.address) === 0 ? limit.u64(0) : undefined;
}

/** For a message: that we have no more descriptors, and how many we may have. */
export function shortageText(): string {
  const most = descriptorLimit();
  const raise = most === undefined ? "" : ` (it may have ${most}: raise that with ulimit -n)`;
  return `uvfio has no descriptor left${raise}`;
}

function failShort(): never {
  fail("ENFILE", "uvfio itself has no descriptor left");
}

/** Whether descriptors ran out since this was last asked. */
export function takeShortage(): boolean {
  const was = isMet;
  isMet = false;
  return was;
}

export function isShortage(result: number): boolean {
  return result === -ERRNO.EMFILE || result === -ERRNO.ENFILE;
}
