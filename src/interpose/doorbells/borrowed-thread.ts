import { monotonic } from "../../kernel/monotonic.ts";
import { copyFromThread } from "../user-copy.ts";
import * as ptrace from "./ptrace.ts";

/** syscall */
const SYSCALL = Buffer.from([0x0f, 0x05]);
/** The code segment of 64-bit programs (arch/x86/include/asm/segment.h: __USER_CS). */
const USER_CS = 0x33;
/** Errnos inside the kernel that say how a call that was interrupted goes on: ERESTARTSYS to ERESTART_RESTARTBLOCK. */
const RESTART_LEAST = -516;
const RESTART_MOST = -512;
const { rax, rdi, rsi, rdx, orig_rax, rip, cs } = ptrace.REGISTER;

/** The thread is gone, or something of it is unlike what was thought: no calls can be made. */
class Unusable extends Error {}

/** A thread that waits for an answer to its call. */
export interface StoppedCaller {
  readonly pid: number;
  readonly tid: number;
  /** Address behind the instruction that made the call. */
  readonly instruction: number;
}

/**
 * Has a thread of a program make system calls of ours, which the program does not notice: it is stopped where it comes
 * back from a call of its own, makes ours with all signals blocked, and goes on untraced where it was. For x86-64.
 *
 * Nothing here waits: step() is to be called again and again.
 */
export class BorrowedThread {
  readonly pid: number;
  readonly tid: number;
  /** When it was begun, as monotonic() has it. */
  readonly begun = monotonic();
  /** Whether the work was done to its end. */
  isDone = false;
  readonly #steps: Generator<void, void>;

  /**
   * @param work makes the calls
   * @returns undefined when the thread cannot be had: somebody else traces it
   */
  static begin(caller: StoppedCaller, work: Work): BorrowedThread | undefined {
    if (process.arch !== "x64" || ptrace.seize(caller.tid) < 0) return undefined;
    return new BorrowedThread(caller, work);
  }

  private constructor({ pid, tid, instruction }: StoppedCaller, work: Work) {
    this.pid = pid;
    this.tid = tid;
    this.#steps = this.#run(instruction, work);
  }

  /** Goes on as far as the thread has. @returns whether it is over: the thread goes its own way */
  step(): boolean {
    return this.#steps.next().done === true;
  }

  *#run(instruction: number, work: Work): Generator<void, void> {
    const { tid } = this;
    let saved: { registers: Buffer; mask: Buffer } | undefined;
    try {
      yield* stopOf(tid);
      const registers = ptrace.readRegisters(tid);
      if (registers === undefined) return;
      if (registers.readUInt32LE(cs) !== USER_CS || !isSyscall(tid, instruction - SYSCALL.length)) return;
      saved = { registers, mask: ptrace.readSignalMask(tid) };
      ptrace.writeSignalMask(tid, Buffer.alloc(saved.mask.length, 0xff));
      yield* work((number, ...args) => makeCall(tid, instruction - SYSCALL.length, registers, number, args));
      this.isDone = true;
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
    } finally {
      if (saved !== undefined) {
        ptrace.writeRegisters(tid, restarted(saved.registers));
        ptrace.writeSignalMask(tid, saved.mask);
      }
      ptrace.detach(tid);
    }
  }
}

/** Makes a system call in the borrowed thread; its value or a negative errno. */
export type MakeCall = (number: number, ...args: number[]) => Generator<void, number>;

/** What is done while the thread is stopped. */
type Work = (call: MakeCall) => Generator<void, void>;

function* makeCall(
  tid: number,
  site: number,
  saved: Buffer,
  number: number,
  args: readonly number[],
): Generator<void, number> {
  const registers = Buffer.from(saved);
  registers.writeBigInt64LE(BigInt(number), rax);
  // the call that it comes from is not begun anew
  registers.writeBigInt64LE(-1n, orig_rax);
  registers.writeBigUInt64LE(BigInt(site), rip);
  for (const [index, at] of [rdi, rsi, rdx].entries()) registers.writeBigInt64LE(BigInt(args[index] ?? 0), at);
  ptrace.writeRegisters(tid, registers);
  // where the call begins, and where it ends
  yield* callOf(tid);
  yield* callOf(tid);
  const after = ptrace.readRegisters(tid);
  if (after === undefined) throw new Unusable();
  return Number(after.readBigInt64LE(rax));
}

/** The thread goes on to the next end of a call; it may be stopped for others in between, as by SIGSTOP. */
function* callOf(tid: number): Generator<void> {
  for (;;) {
    ptrace.toNextCall(tid);
    if ((yield* stopOf(tid)) === "call") return;
  }
}

function* stopOf(tid: number): Generator<void, ptrace.Stop> {
  for (;;) {
    const stop = ptrace.nextStop(tid);
    if (stop === "gone") throw new Unusable();
    if (stop !== "none") return stop;
    yield;
  }
}

/** The registers of a thread that was interrupted in a call have it made again, as the kernel does for a signal. */
function restarted(registers: Buffer): Buffer {
  const number = registers.readBigInt64LE(orig_rax);
  const result = Number(registers.readBigInt64LE(rax));
  if (number < 0n || result < RESTART_LEAST || result > RESTART_MOST) return registers;
  const changed = Buffer.from(registers);
  changed.writeBigInt64LE(number, rax);
  changed.writeBigUInt64LE(registers.readBigUInt64LE(rip) - BigInt(SYSCALL.length), rip);
  return changed;
}

function isSyscall(tid: number, address: number): boolean {
  const bytes = Buffer.alloc(SYSCALL.length);
  try {
    copyFromThread(tid, address, bytes, bytes.length);
  } catch {
    return false;
  }
  return bytes.equals(SYSCALL);
}
