import { Arena } from "../../native/arena.ts";
import { koffi } from "../../native/koffi.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { syscall } from "../libc.ts";

/**
 * ptrace(2) and wait4(2) as far as the tracer needs them; numbers of linux/ptrace.h and wait.h. Functions return
 * negative errnos.
 */
const PTRACE_PEEKUSER = 3;
const PTRACE_POKEUSER = 6;
const PTRACE_CONT = 7;
const PTRACE_DETACH = 17;
const PTRACE_GETEVENTMSG = 0x4201;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_LISTEN = 0x4208;
export const PTRACE_EVENT_FORK = 1;
export const PTRACE_EVENT_VFORK = 2;
export const PTRACE_EVENT_CLONE = 3;
export const PTRACE_EVENT_EXEC = 4;
export const PTRACE_EVENT_EXIT = 6;
export const PTRACE_EVENT_STOP = 128;
/** Each PTRACE_O_TRACE* is 1 << its event. */
const OPTIONS =
  (1 << PTRACE_EVENT_FORK) |
  (1 << PTRACE_EVENT_VFORK) |
  (1 << PTRACE_EVENT_CLONE) |
  (1 << PTRACE_EVENT_EXEC) |
  (1 << PTRACE_EVENT_EXIT);
const P_ALL = 0;
const WNOHANG = 1;
const WSTOPPED = 2;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const WALL = 0x4000_0000;

const arena = new Arena(16);
/** siginfo_t of the thread that waits. */
const siginfo = new Arena(128);
const asyncSyscall = koffi.load(null).func("syscall", "int64", Array(7).fill("int64"));

/** What wait4() said of a traced thread. */
export type Change =
  | { readonly type: "gone"; readonly tid: number }
  /** `event` is a PTRACE_EVENT_*, or 0: then the thread is about to take `signal`. */
  | { readonly type: "stopped"; readonly tid: number; readonly event: number; readonly signal: number };

/** Traces a thread from now on, without stopping it, and what it will fork and clone. */
export function seize(tid: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_SEIZE, tid, 0, OPTIONS);
}

/**
 * Has a thread stop before it executes another instruction of the program. A call that waits killably goes on to its
 * end.
 */
export function interrupt(tid: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_INTERRUPT, tid, 0, 0);
}

/** Lets a stopped thread go on, and take `signal` if that is not 0. */
export function resume(tid: number, signal: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_CONT, tid, 0, signal);
}

/** Leaves a thread in its process' group-stop until SIGCONT, which it then reports. */
export function listen(tid: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_LISTEN, tid, 0, 0);
}

/** Lets a stopped thread go on untraced. Debug registers stay as they are. */
export function detach(tid: number, signal: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_DETACH, tid, 0, signal);
}

/** The thread that a fork or clone event is about. */
export function newThread(tid: number): number {
  arena.setU64(0, 0);
  syscall(HOST_CALLS.ptrace, PTRACE_GETEVENTMSG, tid, 0, arena.address);
  return arena.u64(0);
}

/** A word of a stopped thread's struct user; 0 when it cannot be read. */
export function peekUser(tid: number, offset: number): number {
  arena.setU64(0, 0);
  syscall(HOST_CALLS.ptrace, PTRACE_PEEKUSER, tid, offset, arena.address);
  return arena.u64(0);
}

export function pokeUser(tid: number, offset: number, value: number): number {
  return syscall(HOST_CALLS.ptrace, PTRACE_POKEUSER, tid, offset, value);
}

/** The next change of a traced thread, if there is one already. */
export function nextChange(): Change | undefined {
  const tid = syscall(HOST_CALLS.wait4, -1, arena.address + 8, WNOHANG | WALL, 0);
  if (tid <= 0) return undefined;
  const status = arena.u32(8);
  if ((status & 0xff) !== 0x7f) return { type: "gone", tid };
  return { type: "stopped", tid, event: status >>> 16, signal: (status >> 8) & 0xff };
}

/**
 * Calls back when there is a change to take. Waits in another thread, which sees the changes but leaves them; ptrace()
 * itself answers only the thread that seized.
 * @param callback hears false when nothing is traced
 */
export function whenChanged(callback: (any: boolean) => void): void {
  const options = WEXITED | WSTOPPED | WALL | WNOWAIT;
  asyncSyscall.async(HOST_CALLS.waitid, P_ALL, 0, siginfo.address, options, 0, 0, (error: unknown, result: number) =>
    callback(!error && Number(result) === 0),
  );
}
