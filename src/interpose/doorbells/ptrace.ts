import { Arena } from "../../native/arena.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { syscall } from "../libc.ts";

/**
 * ptrace(2) and wait4(2) as far as calls in another thread need them, on x86-64; numbers of linux/ptrace.h and wait.h.
 * Functions return negative errnos.
 */
const PTRACE_GETREGS = 12;
const PTRACE_SETREGS = 13;
const PTRACE_DETACH = 17;
const PTRACE_SYSCALL = 24;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_GETSIGMASK = 0x420a;
const PTRACE_SETSIGMASK = 0x420b;
const PTRACE_O_TRACESYSGOOD = 1;
/** The thread's own filters let everything pass as long as it is traced. For CAP_SYS_ADMIN, where the kernel has it. */
const PTRACE_O_SUSPEND_SECCOMP = 1 << 21;
const WNOHANG = 1;
const WALL = 0x4000_0000;
const SIGSET_SIZE = 8;
/** What PTRACE_O_TRACESYSGOOD makes of SIGTRAP at a system call. */
const SIGTRAP_AT_CALL = 0x85;

/** struct user_regs_struct: 27 words. */
export const REGISTERS_SIZE = 216;
/** Offsets in it. */
export const REGISTER = { rsi: 104, rdi: 112, rax: 80, rdx: 96, orig_rax: 120, rip: 128, cs: 136 } as const;

const status = new Arena(8);
const registers = new Arena(REGISTERS_SIZE);
const signals = new Arena(SIGSET_SIZE);

/** What wait4() says of a traced thread. */
export type Stop =
  /** It has not changed. */
  | "none"
  | "gone"
  /** Where it begins or ends a system call. */
  | "call"
  /** It was interrupted, or stops for a signal. */
  | "other";

/** Traces a thread from now on and has it stop before it executes another instruction of its program. */
export function seize(tid: number): number {
  const suspended = syscall(HOST_CALLS.ptrace, PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP);
  const seized = suspended < 0 ? syscall(HOST_CALLS.ptrace, PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) : suspended;
  if (seized < 0) return seized;
  // of a thread that is traced, and gone at worst: wait4() says so
  syscall(HOST_CALLS.ptrace, PTRACE_INTERRUPT, tid, 0, 0);
  return 0;
}

/** The next stop of a traced thread, if there is one already. */
export function nextStop(tid: number): Stop {
  status.setU32(0, 0);
  const found = syscall(HOST_CALLS.wait4, tid, status.address, WNOHANG | WALL, 0);
  if (found === 0) return "none";
  const word = status.u32(0);
  if (found < 0 || (word & 0xff) !== 0x7f) return "gone";
  return word >>> 8 === SIGTRAP_AT_CALL ? "call" : "other";
}

/** Lets a stopped thread go on to where its next system call begins or ends. */
export function toNextCall(tid: number): void {
  syscall(HOST_CALLS.ptrace, PTRACE_SYSCALL, tid, 0, 0);
}

/** Lets a stopped thread go on untraced. */
export function detach(tid: number): void {
  syscall(HOST_CALLS.ptrace, PTRACE_DETACH, tid, 0, 0);
}

/** A copy of a stopped thread's registers; undefined when it is gone. */
export function readRegisters(tid: number): Buffer | undefined {
  if (syscall(HOST_CALLS.ptrace, PTRACE_GETREGS, tid, 0, registers.address) < 0) return undefined;
  return Buffer.from(registers.bytes);
}

export function writeRegisters(tid: number, values: Buffer): void {
  registers.bytes.set(values);
  syscall(HOST_CALLS.ptrace, PTRACE_SETREGS, tid, 0, registers.address);
}

/** The signals that a stopped thread blocks. */
export function readSignalMask(tid: number): Buffer {
  syscall(HOST_CALLS.ptrace, PTRACE_GETSIGMASK, tid, SIGSET_SIZE, signals.address);
  return Buffer.from(signals.bytes);
}

export function writeSignalMask(tid: number, mask: Buffer): void {
  signals.bytes.set(mask);
  syscall(HOST_CALLS.ptrace, PTRACE_SETSIGMASK, tid, SIGSET_SIZE, signals.address);
}
