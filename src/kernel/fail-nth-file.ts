import { fail } from "./errors.ts";
import type { FaultPoints } from "./fault-points.ts";
import { FileDescription } from "./file-description.ts";
import type { Task } from "./task.ts";
import type { Word } from "./word.ts";
import { writtenNumber } from "./written-number.ts";

const INT_MAX = 2 ** 31 - 1;
/** A number with its sign and a line end. */
const TEXT_MAX = 13;

/** /proc/TID/fail-nth: which of a thread's next fault points fails (fs/proc/base.c:proc_fail_nth_read, _write). */
export class FailNthFile extends FileDescription {
  override readonly kind = "foreign";
  readonly #points: FaultPoints;
  readonly #thread: number;

  constructor(points: FaultPoints, thread: number) {
    super();
    this.#points = points;
    this.#thread = thread;
  }

  override get label(): string {
    return `fail-nth of thread ${this.#thread}`;
  }

  override get isRead(): boolean {
    return true;
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    const text = Buffer.from(`${this.#points.nthOf(this.#thread)}\n`);
    const part = text.subarray(Number(offset), Number(offset) + count);
    if (part.length > 0) task.memory.copyOut(address, part, part.length);
    return part.length;
  }

  override write(task: Task, address: Word, count: number): number {
    if (count > TEXT_MAX) fail("EINVAL", `${count} bytes are no number`);
    const bytes = Buffer.alloc(count);
    task.memory.copyIn(address, bytes, count);
    this.#points.setNth(this.#thread, writtenNumber(this.label, bytes.toString("latin1"), INT_MAX));
    return count;
  }

  override release(): void {
    this.#points.setNth(this.#thread, 0);
  }
}
