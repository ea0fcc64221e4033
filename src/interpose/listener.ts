import { monotonic } from "../kernel/monotonic.ts";
import { type Word, wordFromHalves } from "../kernel/word.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallAside, Room } from "./aside/aside-jobs.ts";
import type { CallChain } from "./call-chain.ts";
import type { CallLimit } from "./call-limit.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall3 } from "./libc.ts";
import {
  SECCOMP_ADDFD_FLAG_SETFD,
  SECCOMP_IOCTL_NOTIF_ADDFD,
  SECCOMP_IOCTL_NOTIF_ID_VALID,
  SECCOMP_IOCTL_NOTIF_RECV,
  SECCOMP_IOCTL_NOTIF_SEND,
  SECCOMP_IOCTL_NOTIF_SET_FLAGS,
  SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
  SECCOMP_USER_NOTIF_FLAG_CONTINUE,
} from "./linux.ts";
import { Restarts } from "./restarts.ts";
import type { Abi } from "./syscall-table.ts";

// struct seccomp_notif: id u64@0, pid u32@8, flags u32@12, data@16 {nr s32@0, arch u32@4, ip u64@8, args u64[6]@16}
const NOTIF_SIZE = 80;
const PID = 8;
const NUMBER = 16;
const ARCH = 20;
const INSTRUCTION = 24;
const ARGS = 32;
// struct seccomp_notif_resp: id u64@0, val s64@8, error s32@16, flags u32@20
const RESPONSE = 96;
// struct seccomp_notif_addfd: id u64@0, flags u32@8, srcfd u32@12, newfd u32@16, newfd_flags u32@20
const ADDFD = 128;
/** The caller's lowest free number. */
export const LOWEST = -1;

type Told = (isDelivered: boolean) => void;

/** What is special of a filter that somebody else has made. */
interface ListenerOptions {
  readonly isListenerShared?: boolean;
  readonly mayRestart?: boolean;
}

/** The seccomp listener and the one notification that is being handled. */
export class Listener {
  readonly fd: number;
  readonly #arena = new Arena(256);
  /** Low half of the last notification's id. */
  #lastId = 0;
  readonly #limit: CallLimit;

  readonly #isShared: boolean;
  readonly #restarts: Restarts | undefined;
  /** The next answer may be held until sendHeld(). */
  mayHold = false;
  #isHeld = false;
  #told: Told | undefined;

  /**
   * @param limit ends a call that waits for a caller to take its descriptor
   * @param of a filter that is not this process's own: see ProgramOptions
   */
  constructor(fd: number, limit: CallLimit, { isListenerShared = false, mayRestart = false }: ListenerOptions = {}) {
    this.fd = fd;
    this.#limit = limit;
    this.#isShared = isListenerShared;
    this.#restarts = mayRestart ? new Restarts() : undefined;
  }

  /**
   * When the call in hand was handled before, and its answer did not reach the caller because of a signal: answers with
   * the same. Returns whether it was so.
   */
  answerAgain(): boolean {
    const known = this.#restarts?.take(this.tid, this.#arena.bytes.subarray(NUMBER, NOTIF_SIZE));
    if (known === undefined) return false;
    this.#send(known.value, known.error, 0);
    return true;
  }

  /**
   * Has the scheduler run who is woken on the waker's CPU (Linux 6.6; before, nothing changes): caller and server never
   * run at the same time anyway, and waking an idle CPU, of a virtual machine above all, costs ten times the call.
   */
  wakeOnSameCpu(): void {
    syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  }

  /** From here on calls of programs that still run answer ENOSYS. */
  close(): void {
    this.sendHeld();
    close(this.fd);
  }

  /**
   * Whether notifications have vanished since the last time: they are numbered in the order in which they came
   * (kernel/seccomp.c: seccomp_next_notify_id).
   */
  get hasMissed(): boolean {
    const next = (this.#lastId + 1) >>> 0;
    this.#lastId = this.#arena.u32(0);
    return this.#lastId !== next;
  }

  /** Takes the next notification. False when it vanished in between (its task was killed or interrupted). */
  receive(): boolean {
    this.empty();
    const { address } = this.#arena;
    return this.#isShared && this.#limit.isUsable
      ? this.#limit.syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_RECV, address) === 0
      : syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_RECV, address) === 0;
  }

  /** Whether answers can be held, and the next call be taken by a chain: nobody else takes one in between. */
  get isChainable(): boolean {
    return !this.#isShared && this.#restarts === undefined;
  }

  /** Whether an answer is held. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Sends the answer that is held, if one is. */
  sendHeld(): void {
    if (!this.#isHeld) return;
    this.#tellHeld(this.#sendResponse());
  }

  /** What is held was sent by putSend()'s step. */
  heldIsSent(): void {
    this.#tellHeld(true);
  }

  #tellHeld(isDelivered: boolean): void {
    this.#isHeld = false;
    const told = this.#told;
    this.#told = undefined;
    told?.(isDelivered);
  }

  /** Has a step of a chain send what is held; it ends the chain when that fails. */
  putSend(chain: CallChain, step: number): void {
    chain.call(step, HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_SEND, this.#arena.address + RESPONSE);
    chain.checkResult(step, 0);
  }

  /** Has a step do what receive() does, after empty(), and end the chain when there is no call to take. */
  putReceive(chain: CallChain, step: number): void {
    chain.call(step, HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_RECV, this.#arena.address);
    chain.checkResult(step, 0);
  }

  /** Has steps end the chain unless the call received is a thread's, with a descriptor as its first argument. */
  putExpect(chain: CallChain, step: number, tid: number, fd: number): void {
    chain.check(step, this.#arena.address + PID, tid);
    chain.check(step + 1, this.#arena.address + ARGS, fd);
  }

  /** Has a step end the chain unless the call received is an ioctl with a request. */
  putExpectRequest(chain: CallChain, step: number, request: number): void {
    chain.nothing(step);
    chain.check(step, this.#arena.address + ARGS + 8, request);
  }

  /** Has a step put an argument of the call received to an address. */
  putMoveArgument(chain: CallChain, step: number, index: number, to: number): void {
    chain.move(step, this.#arena.address + ARGS + 8 * index, to);
  }

  /** Forgets the call in hand: the kernel refuses a buffer for the next one that is not zero. */
  empty(): void {
    this.#arena.clear(0, NOTIF_SIZE);
  }

  /**
   * Whether the caller waits still. As long as it does its number is its own; so what was found by that number before
   * this says yes was found of the caller, and a descriptor that was opened before stays the caller's.
   */
  isValid(): boolean {
    for (;;) {
      const result = syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, this.#arena.address);
      // a signal while the kernel waits for its lock is no answer (kernel/seccomp.c:seccomp_notify_id_valid)
      if (result !== -ERRNO.EINTR) return result === 0;
    }
  }

  /** The notification in hand, for restore(). */
  copy(): Buffer {
    return Buffer.from(this.#arena.bytes.subarray(0, NOTIF_SIZE));
  }

  /** Takes up a notification that was put off. */
  restore(notification: Buffer): void {
    this.#arena.bytes.set(notification);
  }

  /** The calling thread, as our own pid namespace numbers it. */
  get tid(): number {
    return this.#arena.u32(PID);
  }

  get number(): number {
    return this.#arena.s32(NUMBER);
  }

  get arch(): number {
    return this.#arena.u32(ARCH);
  }

  /** Address behind the instruction that made the call. */
  get instruction(): number {
    return this.#arena.u64(INSTRUCTION);
  }

  /** Whether a signal to its caller interrupts a call that is being handled. */
  get isInterruptible(): boolean {
    return this.#restarts !== undefined;
  }

  /** An argument as the signed int that descriptors are. */
  int(index: number): number {
    return this.#arena.s32(ARGS + 8 * index);
  }

  /** The low 32 bits of an argument. */
  low(index: number): number {
    return this.#arena.u32(ARGS + 8 * index);
  }

  /** A whole argument: an address, a length. 32-bit programs have only the low half. */
  word(index: number, abi: Abi): Word {
    const low = this.#arena.u32(ARGS + 8 * index);
    return abi.halves ? low : wordFromHalves(low, this.#arena.u32(ARGS + 8 * index + 4));
  }

  /** A 64-bit argument, which takes two registers of a 32-bit program. */
  wide(index: number, abi: Abi): Word {
    const high = abi.halves ? this.#arena.u32(ARGS + 8 * (index + 1)) : this.#arena.u32(ARGS + 8 * index + 4);
    return wordFromHalves(this.#arena.u32(ARGS + 8 * index), high);
  }

  /**
   * Answers with a value (>= 0) or a negative errno.
   * @param told hears, when the answer has been sent, whether its caller was there to hear it
   */
  answer(result: number, told?: Told): void {
    if (result < 0) this.#send(0, result, 0, told);
    else this.#send(result, 0, 0, told);
  }

  /** Lets the kernel carry out the call as if there were no filter. */
  continue(told?: Told): void {
    this.#send(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE, told);
  }

  /**
   * Gives the caller a descriptor for our `fd`: its number or a negative errno. EINTR when the caller has not taken it
   * within a moment: it has none.
   *
   * In two steps with the answer that follows, because SECCOMP_ADDFD_FLAG_SEND cannot be trusted when a signal, a stop
   * or a debugger interrupts us in it: the call may have been answered with 0 by then, and making it again fails with
   * EINPROGRESS (kernel/seccomp.c:seccomp_notify_addfd). Without the flag an interrupted one has had no effect.
   * @param number the one that it gets, whatever is behind it; LOWEST for a new one
   */
  addDescriptor(fd: number, number: number, closeOnExec: number): number {
    const arena = this.#arena;
    writeAddition(arena.view, ADDFD, { id: this.#id(), fd, number, closeOnExec });
    const over = monotonic() + this.#limit.microseconds / 1000;
    for (;;) {
      const result = this.#limit.syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_ADDFD, arena.address + ADDFD);
      // other signals interrupt it too
      if (result !== -ERRNO.EINTR || monotonic() >= over || !this.#limit.isUsable) return result;
    }
  }

  /** The same as calls to be made aside, for the call in hand, of which others may be in hand by then. */
  addSteps(fd: number, closeOnExec: number): (room: Room, number: number) => CallAside {
    const id = this.#id();
    return ({ bytes, address }, number) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      writeAddition(view, 0, { id, fd, number, closeOnExec });
      return [HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_ADDFD, address];
    };
  }

  #send(value: number, error: number, flags: number, told?: Told): void {
    const arena = this.#arena;
    this.sendHeld();
    this.#copyId(RESPONSE);
    arena.setU64(RESPONSE + 8, value);
    arena.view.setInt32(RESPONSE + 16, error, true);
    arena.setU32(RESPONSE + 20, flags);
    if (this.mayHold) {
      this.mayHold = false;
      this.#isHeld = true;
      this.#told = told;
      return;
    }
    const isDelivered = this.#sendResponse();
    // EINTR: that its caller has gone on was seen before anything was done
    if (!isDelivered && flags === 0 && error !== -ERRNO.EINTR)
      this.#restarts?.keep(this.tid, arena.bytes.subarray(NUMBER, NOTIF_SIZE), { value, error });
    told?.(isDelivered);
  }

  /** Returns whether the caller was there to hear it. */
  #sendResponse(): boolean {
    for (;;) {
      const result = syscall3(HOST_CALLS.ioctl, this.fd, SECCOMP_IOCTL_NOTIF_SEND, this.#arena.address + RESPONSE);
      if (result !== -ERRNO.EINTR) return result !== -ERRNO.ENOENT;
    }
  }

  #id(): bigint {
    return this.#arena.view.getBigUint64(0, true);
  }

  /** The notification's id to the start of what goes back. */
  #copyId(to: number): void {
    const arena = this.#arena;
    arena.setU32(to, arena.u32(0));
    arena.setU32(to + 4, arena.u32(4));
  }
}

interface Addition {
  readonly id: bigint;
  readonly fd: number;
  readonly number: number;
  readonly closeOnExec: number;
}

function writeAddition(view: DataView, at: number, { id, fd, number, closeOnExec }: Addition): void {
  view.setBigUint64(at, id, true);
  view.setUint32(at + 8, number === LOWEST ? 0 : SECCOMP_ADDFD_FLAG_SETFD, true);
  view.setUint32(at + 12, fd, true);
  view.setUint32(at + 16, number === LOWEST ? 0 : number, true);
  view.setUint32(at + 20, closeOnExec, true);
}
