import { fail } from "../kernel/errors.ts";
import type { Task } from "../kernel/task.ts";
import { type Word, wordAdd } from "../kernel/word.ts";

/** A typed array shows numbers as the processor has them, and is read faster than through a DataView. */
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * One copy of a caller's structure, taken once and worked on: a program can change its memory meanwhile. The buffer is
 * shared by all requests of the single-threaded model, so a handler must be done with it before it calls another.
 */
export class UserStruct {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #words: Int32Array;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.#words = new Int32Array(this.bytes.buffer, 0, size >>> 2);
  }

  /** Copies the first `size` bytes of the caller's structure to the start of the buffer. EFAULT. */
  copyIn(task: Task, arg: Word, size: number): void {
    task.memory.copyIn(arg, this.bytes, size, this.#words);
  }

  /** copyIn() of a structure that begins with argsz; EINVAL when the caller says that it holds less than `size` bytes. */
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

  /** @param at a multiple of 4, as every such field lies */
  u32(at: number): number {
    return LITTLE_ENDIAN ? this.#words[at >>> 2]! >>> 0 : this.view.getUint32(at, true);
  }

  setU32(at: number, value: number): void {
    if (LITTLE_ENDIAN) this.#words[at >>> 2] = value;
    else this.view.setUint32(at, value, true);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  setU64(at: number, value: bigint): void {
    this.view.setBigUint64(at, value, true);
  }
}
