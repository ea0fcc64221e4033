import os from "node:os";
import { errnoName } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import { INSTRUCTION_SIZE } from "./bpf.ts";
import { type FilterOptions, vfioFilter } from "./filter.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InterposerError } from "./interposer-error.ts";
import { syscall } from "./libc.ts";
import {
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_SET_MODE_FILTER,
} from "./linux.ts";

/**
 * Puts the filter on the calling thread and returns the listener's descriptor. Needs CAP_SYS_ADMIN in the own user
 * namespace and no PR_SET_NO_NEW_PRIVS, so that setuid programs keep working for root.
 *
 * WAIT_KILLABLE_RECV is not optional: without it a signal aborts a call that we are carrying out, its side effects
 * included, and the program makes it again.
 */
export function installFilter(options: FilterOptions): number {
  const program = vfioFilter(options);
  const arena = new Arena(16 + program.length);
  // struct sock_fprog {u16 len; struct sock_filter *filter}
  arena.view.setUint16(0, program.length / INSTRUCTION_SIZE, true);
  arena.setU64(8, arena.address + 16);
  arena.bytes.set(program, 16);
  const install = (flags: number) => syscall(HOST_CALLS.seccomp, SECCOMP_SET_MODE_FILTER, flags, arena.address);
  const listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (listener >= 0) return listener;
  const errno = errnoName(-listener);
  if (errno === "EBUSY") {
    throw new InterposerError("nested", "another supervisor already serves this process: uvfio cannot run under uvfio");
  }
  if (errno === "EINVAL" || errno === "ENOSYS") {
    throw new InterposerError(
      "kernel-too-old",
      `Linux ${os.release()} has no seccomp user notification with WAIT_KILLABLE_RECV: Linux 5.19 or later is needed`,
    );
  }
  throw new InterposerError("not-permitted", `the seccomp filter is refused (${errno})`);
}
