import fs from "node:fs";
import { errnoName } from "../../uapi/errno.ts";
import { isShortage, shortageText } from "../descriptor-shortage.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { close, syscall } from "../libc.ts";
import { PR_SET_CHILD_SUBREAPER } from "../linux.ts";

/** Fetches the listener, a descriptor of the launcher's. */
export function takeListener(pid: number, listener: number): number {
  const pidfd = syscall(HOST_CALLS.pidfd_open, pid, 0);
  if (pidfd < 0) throw new InterposerError("host-failed", `the launcher is gone (${errnoName(-pidfd)})`);
  const fd = syscall(HOST_CALLS.pidfd_getfd, pidfd, listener, 0);
  close(pidfd);
  if (fd >= 0) return fd;
  if (isShortage(fd)) throw new InterposerError("host-failed", shortageText());
  throw new InterposerError(
    "not-permitted",
    `looking into the program is refused (${errnoName(-fd)}): ${tracingAdvice()}`,
  );
}

/** Yama's restriction of ptrace and its like: 0 none, 1 only one's own descendants, 2 only root, 3 nobody. */
function ptraceScope(): number {
  try {
    return Number(fs.readFileSync("/proc/sys/kernel/yama/ptrace_scope", "utf8"));
  } catch {
    return 0;
  }
}

function tracingAdvice(): string {
  const scope = ptraceScope();
  if (scope > 1) return `kernel.yama.ptrace_scope is ${scope}, uvfio needs 0 or 1`;
  return "in a container allow it with docker run --cap-add SYS_PTRACE";
}

/**
 * Under Yama only descendants may be looked into. A process whose parent ended would become init's child and be out of
 * reach, so it becomes ours.
 */
export function adoptOrphans(): void {
  if (ptraceScope() > 0) syscall(HOST_CALLS.prctl, PR_SET_CHILD_SUBREAPER, 1);
}
