import { Arena } from "./arena.ts";
import { briefly, closeBrief } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall, syscall3 } from "./libc.ts";
import { O_CLOEXEC, O_NONBLOCK, OPEN_HOW_SIZE, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS } from "./linux.ts";

// struct open_how @0, the path @32, what is read @1024
const PATH = 32;
const DATA = 1024;
/** Bytes at most: what is read is a number or a word. */
const MOST = 4096;
const arena = new Arena(DATA + MOST);

/**
 * Reads a small file below a directory that a program may write to: through no link, which might lead to what only we may read, and without
 * waiting, should it be a FIFO. Undefined when it cannot be read.
 * @param root a descriptor of the directory
 */
export function readFileBelow(root: number, path: string): string | undefined {
  if (path.length >= DATA - PATH) return undefined;
  arena.setU64(0, O_NONBLOCK | O_CLOEXEC);
  arena.setU64(8, 0);
  arena.setU64(16, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
  const name = arena.text(PATH, path);
  const fd = briefly(() => syscall(HOST_CALLS.openat2, root, name, arena.address, OPEN_HOW_SIZE));
  if (fd < 0) return undefined;
  const length = syscall3(HOST_CALLS.read, fd, arena.address + DATA, MOST);
  closeBrief(fd);
  return length < 0 ? undefined : arena.bytes.toString("utf8", DATA, DATA + length);
}
