import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";

/** Copies `length` bytes at `arg` + `offset`, once. EFAULT. */
export function copyBytes(task: Task, arg: Word, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  task.memory.copyIn(wordAdd(arg, offset), bytes, length);
  return bytes;
}

/** The bytes of a structure that begins with argsz and flags. EINVAL when argsz is below `size`. */
export function copySized(task: Task, arg: Word, size: number, name: string): Uint8Array {
  const bytes = copyBytes(task, arg, 0, size);
  const argsz = viewOf(bytes).getUint32(0, true);
  if (argsz < size) fail("EINVAL", `argsz of struct ${name} is ${argsz}, at least ${size} are needed`);
  return bytes;
}
