import { fail } from "../kernel/errors.ts";
import type { Task } from "../kernel/task.ts";
import { type Word, wordAdd } from "../kernel/word.ts";
import type { Layout } from "../uapi/layout.ts";
import type { StructView } from "../uapi/struct-view.ts";
import { UserStruct } from "../vfio/user-struct.ts";

/** No structure is larger: that of the kernel's tests (main.c: union ucmd_buffer). */
const LARGEST = 72;
const PIECE = 4096;

const tail = new Uint8Array(PIECE);

/**
 * One copy of a caller's structure that begins with `size`, taken once (struct iommufd_ucmd). The buffer is shared by
 * all requests of the single-threaded model.
 */
export class Command {
  /** The copy, whose fields can be read and written as 32-bit words. */
  readonly words = new UserStruct(LARGEST);
  readonly bytes: Uint8Array = this.words.bytes;
  /** In the byte order of the caller. */
  readonly view: StructView = this.words.view;
  #task!: Task;
  #arg!: Word;
  #userSize = 0;

  get task(): Task {
    return this.#task;
  }

  /** Bytes that the caller's structure has. */
  get userSize(): number {
    return this.#userSize;
  }

  /**
   * Copies a structure in; what the caller's version lacks is zero (copy_struct_from_user()).
   * @param minimum bytes that the request began with
   * @throws KernelError EFAULT, EINVAL (too small), E2BIG (larger than known, and not zero there)
   */
  fetch(task: Task, arg: Word, known: number, minimum: number, name: string): void {
    this.#task = task;
    this.#arg = arg;
    const { words } = this;
    words.copyIn(task, arg, 4);
    const size = words.u32(0);
    this.#userSize = size;
    if (size < minimum) fail("EINVAL", `size of struct ${name} is ${size}, at least ${minimum} are needed`);
    if (size > known) this.#refuseTail(known, size, name);
    if (size < known) this.bytes.fill(0);
    words.copyIn(task, arg, Math.min(size, known));
  }

  /**
   * The same structure in a buffer of its own: for what is answered after other requests. The task is there again then.
   */
  keep(): Command {
    const kept = new Command();
    kept.bytes.set(this.bytes);
    kept.view.littleEndian = this.view.littleEndian;
    kept.#task = this.#task;
    kept.#arg = this.#arg;
    kept.#userSize = this.#userSize;
    return kept;
  }

  /** Copies the structure back, as much of it as the caller has. EFAULT. */
  // biome-ignore lint/suspicious/noExplicitAny: a layout of any fields
  respond(layout: Layout<any>): void {
    this.words.copyOut(this.#task, this.#arg, Math.min(this.#userSize, layout.size));
  }

  /** Copies one field back, whatever the caller's size (put_user()). */
  respondField(offset: number, size: number): void {
    this.#task.memory.copyOut(wordAdd(this.#arg, offset), this.bytes.subarray(offset), size);
  }

  /** check_zeroed_user(): page by page, as far as the first byte that is not zero. */
  #refuseTail(known: number, size: number, name: string): void {
    for (let at = known; at < size; ) {
      const address = wordAdd(this.#arg, at);
      const toPageEnd = PIECE - Number(BigInt(address) % BigInt(PIECE));
      const count = Math.min(size - at, toPageEnd);
      this.#task.memory.copyIn(address, tail, count);
      if (tail.subarray(0, count).some((byte) => byte !== 0)) {
        fail("E2BIG", `struct ${name} has ${size} bytes, of which this kernel knows ${known}; the others must be zero`);
      }
      at += count;
    }
  }
}
