import { fail } from "../../kernel/errors.ts";
import { type EventSignal, ForeignFile } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";

/** eventfd_ctx_fdget(): EBADF for a descriptor that is not open, EINVAL for one of another file than an eventfd. */
export function eventOf(task: Task, fd: number): EventSignal {
  const file = task.files.get(fd);
  if (file === undefined) fail("EBADF", `file descriptor ${fd} is not open; an eventfd was wanted`);
  const event = file instanceof ForeignFile ? file.event() : undefined;
  if (event === undefined) fail("EINVAL", `file descriptor ${fd} is no eventfd but ${file.label}`);
  return event;
}
