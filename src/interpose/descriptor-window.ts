import type { FileDescription } from "../kernel/file-description.ts";

/**
 * The numbers that devices, and other files that programs read and write, get in programs. A filter sees the number of
 * a descriptor but not what is behind it; with numbers of their own, calls on these files are told from all others
 * without a look by us. So every call on them comes to us, whatever its offset and size, and reads and writes of other
 * files stay native.
 *
 * A program that has files of its own here pays for it with slower calls on them, nothing else. 64 numbers at the end
 * of what the usual limit of 1024 open files allows, and what select() can watch. When all are taken, or above the
 * program's RLIMIT_NOFILE, our files get the lowest free number as the kernel would give it: they are served there, but
 * for what docs/interposer.md lists.
 */
export const WINDOW_FIRST = 960;
/** The first number behind the window. */
export const WINDOW_END = 1024;

/**
 * Whether a file gets its descriptor there. Containers, groups and iommufds cannot be read, and get the lowest free
 * number as of any open().
 */
export function belongsInWindow({ kind, readiness, isRead }: FileDescription): boolean {
  return kind === "device" || readiness !== undefined || isRead;
}
