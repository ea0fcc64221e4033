import os from "node:os";
import { INSTRUCTION_SIZE } from "../bpf.ts";
import { type FilterOptions, vfioFilter } from "../filter.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import {
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_SET_MODE_FILTER,
} from "../linux.ts";
import type { CallList, Result } from "./call-list.ts";

/**
 * Puts the filter on the process; the result is the listener's descriptor. Needs CAP_SYS_ADMIN in the own user
 * namespace and no PR_SET_NO_NEW_PRIVS, so that setuid programs keep working for root.
 *
 * WAIT_KILLABLE_RECV is not optional: without it a signal aborts a call that we are carrying out, its side effects
 * included, and the program makes it again.
 */
export function filterCalls(list: CallList, options: FilterOptions): Result {
  const program = vfioFilter(options);
  // struct sock_fprog {u16 len; struct sock_filter *filter}
  const prog = list.words([program.length / INSTRUCTION_SIZE, program]);
  const flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  return list.call(HOST_CALLS.seccomp, [SECCOMP_SET_MODE_FILTER, flags, prog], refused);
}

function refused(errno: string): InterposerError {
  if (errno === "EBUSY") {
    return new InterposerError(
      "nested",
      "another supervisor already serves this process: uvfio cannot run under uvfio",
    );
  }
  if (errno === "EINVAL" || errno === "ENOSYS") {
    return new InterposerError(
      "kernel-too-old",
      `Linux ${os.release()} has no seccomp user notification with WAIT_KILLABLE_RECV: Linux 5.19 or later is needed`,
    );
  }
  return new InterposerError("not-permitted", `the seccomp filter is refused (${errno})`);
}
