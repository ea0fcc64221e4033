import { Arena } from "../../native/arena.ts";
import { koffi } from "../../native/koffi.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { syscall, syscall3 } from "../libc.ts";
import { FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, SIG_SETMASK, SIGSET_SIZE } from "../linux.ts";
import { BLOCK, loadedThreadCode, STATE } from "./thread-code.ts";

// The block, a struct timespec @96, then room for what its calls read and write.
const TIMEOUT = 96;
const ROOM = 128;
/** Bytes of that room. */
export const ROOM_SIZE = 256 * 1024;
/** Room for glibc's and musl's pthread_attr_t. */
const ATTRIBUTES = 128;
const STACK_SIZE = 64 * 1024;
const DETACHED = 1;

const libc = koffi.load(null);
const attributes = new Arena(ATTRIBUTES);
const scratch = new Arena(64);

/** Threads that wait for work. They stay: their number is bounded by how many hung at the same time. */
const idle: AsideThread[] = [];

/**
 * A thread that makes one system call at a time for this one: a call that may wait for somebody who never comes. It
 * shares our descriptors and our memory, and cannot be taken out of a call that does not end; the end of this process
 * ends it.
 */
export class AsideThread {
  readonly #block = new Arena(ROOM + ROOM_SIZE);
  readonly #state: Int32Array;

  private constructor() {
    const { bytes } = this.#block;
    this.#state = new Int32Array(bytes.buffer, bytes.byteOffset, 1);
    this.#block.setU64(BLOCK.one, 1);
  }

  /**
   * A thread that has nothing to do: one that was given back, or a new one. Undefined when there are no more.
   * @param event an eventfd that is written to when a late call has ended
   */
  static take(event: number): AsideThread | undefined {
    const thread = idle.pop() ?? AsideThread.#start();
    if (thread !== undefined) thread.#block.setU64(BLOCK.event, event);
    return thread;
  }

  static #start(): AsideThread | undefined {
    const code = loadedThreadCode();
    if (code < 0) return undefined;
    const thread = new AsideThread();
    return create(code, thread.#block.address) ? thread : undefined;
  }

  /** Gives the thread back, whose last call has ended. */
  giveBack(): void {
    idle.push(this);
  }

  /** Address of the room for what calls read and write. */
  get room(): number {
    return this.#block.address + ROOM;
  }

  /** The room's bytes. */
  get bytes(): Buffer {
    return this.#block.bytes.subarray(ROOM);
  }

  /** Has it make a call; the one before must have ended. */
  request(number: number, args: readonly number[]): void {
    this.#block.setU64(BLOCK.number, number);
    for (let i = 0; i < 6; i++) this.#set(BLOCK.arguments + 8 * i, args[i] ?? 0);
    Atomics.store(this.#state, 0, STATE.requested);
    syscall3(HOST_CALLS.futex, this.#block.address, FUTEX_WAKE_PRIVATE, 1);
  }

  /** Waits for the end of the call, at most so many microseconds. False: it is late, and the eventfd will tell. */
  wait(microseconds: number): boolean {
    const deadline = performance.now() + microseconds / 1000;
    while (Atomics.load(this.#state, 0) === STATE.requested) {
      const left = (deadline - performance.now()) * 1000;
      if (left <= 0) {
        return Atomics.compareExchange(this.#state, 0, STATE.requested, STATE.late) === STATE.finished;
      }
      this.#block.setU64(TIMEOUT, 0);
      this.#block.setU64(TIMEOUT + 8, Math.min(left, 999_999) * 1000);
      const { address } = this.#block;
      syscall(HOST_CALLS.futex, address, FUTEX_WAIT_PRIVATE, STATE.requested, address + TIMEOUT);
    }
    return true;
  }

  /** Whether the call has ended. */
  get hasFinished(): boolean {
    return Atomics.load(this.#state, 0) === STATE.finished;
  }

  /** What the call returned: a value, or a negative errno. */
  get result(): number {
    const { view } = this.#block;
    return view.getInt32(BLOCK.result + 4, true) * 0x1_0000_0000 + this.#block.u32(BLOCK.result);
  }

  #set(at: number, value: number): void {
    this.#block.view.setUint32(at, value, true);
    this.#block.view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }
}

/** pthread_create() with all signals blocked: they are for node's own threads. */
function create(code: number, argument: number): boolean {
  const call = (name: string, types: string) => libc.func(`int ${name}(${types})`);
  scratch.bytes.fill(0xff, 0, SIGSET_SIZE);
  const [all, old] = [scratch.address, scratch.address + 8];
  const { address } = attributes;
  call("pthread_attr_init", "int64")(address);
  call("pthread_attr_setstacksize", "int64, int64")(address, STACK_SIZE);
  call("pthread_attr_setdetachstate", "int64, int")(address, DETACHED);
  syscall(HOST_CALLS.rt_sigprocmask, SIG_SETMASK, all, old, SIGSET_SIZE);
  const error = call("pthread_create", "int64, int64, int64, int64")(scratch.address + 16, address, code, argument);
  syscall(HOST_CALLS.rt_sigprocmask, SIG_SETMASK, old, 0, SIGSET_SIZE);
  call("pthread_attr_destroy", "int64")(address);
  return error === 0;
}
