import { fail, KernelError } from "../kernel/errors.ts";
import type { Release } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import { type Word, wordAdd } from "../kernel/word.ts";
import { StructView } from "../uapi/struct-view.ts";

/** A typed array shows numbers as this machine's processor has them, and is read faster than through a DataView. */
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * One copy of a caller's structure, taken once and worked on: a program can change its memory meanwhile. The buffer is
 * shared by all requests of the single-threaded model, so a handler must be done with it before it calls another.
 */
export class UserStruct {
  readonly bytes: Uint8Array;
  /** In the byte order of whose structure was copied in last. */
  readonly view: StructView;
  readonly #words: Int32Array;
  #littleEndian = LITTLE_ENDIAN;
  /** Whether the words are the caller's numbers. */
  #asWords = true;
  /** Where the low half of a 64-bit field lies in it, in bytes; the high half lies in the other four. */
  #low = LITTLE_ENDIAN ? 0 : 4;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new StructView(this.bytes, LITTLE_ENDIAN);
    this.#words = new Int32Array(this.bytes.buffer, 0, size >>> 2);
  }

  /** Copies the first `size` bytes of the caller's structure to the start of the buffer. EFAULT. */
  copyIn(task: Task, arg: Word, size: number): void {
    const { memory } = task;
    if (memory.littleEndian !== this.#littleEndian) this.#turn(memory.littleEndian);
    memory.copyIn(arg, this.bytes, size, this.#words);
  }

  /** From now on a structure of that byte order is in the buffer. Rare: callers of one machine have one order. */
  #turn(littleEndian: boolean): void {
    this.#littleEndian = littleEndian;
    this.view.littleEndian = littleEndian;
    this.#asWords = littleEndian === LITTLE_ENDIAN;
    this.#low = littleEndian ? 0 : 4;
  }

  /**
   * copyIn() of a structure that begins with argsz; EINVAL when the caller says that it holds less than `size` bytes.
   */
  copyInSized(task: Task, arg: Word, size: number, name: string): void {
    this.copyIn(task, arg, size);
    const argsz = this.u32(0);
    if (argsz < size) fail("EINVAL", `argsz of struct ${name} is ${argsz}, at least ${size} are needed`);
  }

  /** Copies `size` bytes that lie `offset` bytes behind `arg` to the same place in the buffer. EFAULT. */
  copyInTail(task: Task, arg: Word, offset: number, size: number): void {
    task.memory.copyIn(wordAdd(arg, offset), this.bytes.subarray(offset), size);
  }

  /** Copies the first `size` bytes back. EFAULT. */
  copyOut(task: Task, arg: Word, size: number): void {
    task.memory.copyOut(arg, this.bytes, size, this.#words);
  }

  /**
   * copyOut() as the whole answer of a request. Old releases return what copy_to_user() returned: how many bytes could
   * not be written. EFAULT on all others.
   * @returns 0, or the bytes that are left
   */
  answer(task: Task, arg: Word, size: number, release: Release): number {
    try {
      this.copyOut(task, arg, size);
      return 0;
    } catch (error) {
      // asked here alone: an answer that can be written is the same on all releases
      const isFault = error instanceof KernelError && error.code === "EFAULT";
      if (!isFault || release.has("answerErrno")) throw error;
      return this.#left(task, arg, size);
    }
  }

  /** What lies before the page that refuses has been written: a structure of this size reaches into two at most. */
  #left(task: Task, arg: Word, size: number): number {
    const { memory } = task;
    const before = memory.pageSize - Number(BigInt(arg) % BigInt(memory.pageSize));
    if (before >= size) return size;
    try {
      memory.copyOut(arg, this.bytes, before);
      return size - before;
    } catch (error) {
      if (!(error instanceof KernelError && error.code === "EFAULT")) throw error;
      return size;
    }
  }

  /** @param at a multiple of 4, as every such field lies */
  u32(at: number): number {
    return this.#asWords ? this.#words[at >>> 2]! >>> 0 : this.view.u32(at);
  }

  setU32(at: number, value: number): void {
    if (this.#asWords) this.#words[at >>> 2] = value;
    else this.view.setU32(at, value);
  }

  /** The lower 32 bits of a 64-bit field. */
  low(at: number): number {
    return this.u32(at + this.#low);
  }

  /** The upper 32 bits. */
  high(at: number): number {
    return this.u32(at + 4 - this.#low);
  }

  /** Fills a 64-bit field from its two halves. */
  setHalves(at: number, low: number, high: number): void {
    this.setU32(at + this.#low, low);
    this.setU32(at + 4 - this.#low, high);
  }

  u64(at: number): bigint {
    return this.view.u64(at);
  }

  setU64(at: number, value: bigint): void {
    this.view.setU64(at, value);
  }
}
