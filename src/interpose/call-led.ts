import { fail } from "../kernel/errors.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { closeBrief } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_ACCMODE,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_TRUNC,
} from "./linux.ts";
import type { Opening } from "./path-resolver.ts";
import { statDescriptor } from "./path-stat.ts";

const PATH_MAX = 4096;
const arena = new Arena(PATH_MAX + 8);

/** A descriptor of ours of what a path is led to (led-tree.ts), with the thread's rights; undefined when it is not. */
function openLed(context: CallContext, directory: number, path: string, flags: number): number | undefined {
  const { tree, task, credentials, processes, caller } = context.on;
  const led = tree?.lead(task.tid, directory, path);
  if (tree === undefined || led === undefined) return undefined;
  context.isLed = true;
  const ids = credentials.assume(task.tid, processes.led(task.tid));
  const fd = ids.during(() => tree.open(led, flags)) ?? -ERRNO.EACCES;
  caller.prove();
  return fd;
}

/** An open() of a file or directory of the host's, which is no node. */
export function openLedFile(context: CallContext, { directory, path, flags }: Opening): number | undefined {
  const { installs } = context.on;
  const isWritten = (flags & O_ACCMODE) !== O_RDONLY && (flags & O_PATH) === 0;
  const kept = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
  const fd = openLed(context, directory, path, (isWritten ? kept & ~O_ACCMODE : kept) | O_CLOEXEC);
  if (fd === undefined || fd < 0) return fd;
  if (!isWritten) return installs.give(fd, flags & O_CLOEXEC);
  close(fd);
  context.path = path;
  fail("EROFS", `without mounts the host's files cannot be written: ${path} does nothing here`);
}

/** statx() of what a path is led to, into lastStat: 0 or a negative errno; undefined when it is not led. */
export function statLed(context: CallContext, directory: number, path: string, flags: number): number | undefined {
  const fd = openLed(context, directory, path, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW));
  if (fd === undefined || fd < 0) return fd;
  const result = statDescriptor(fd);
  closeBrief(fd);
  return result;
}

/** readlink, readlinkat. */
export function handleReadlink(context: CallContext): Reply {
  const at = context.call === "readlink" ? 0 : 1;
  const { listener, task } = context.on;
  const directory = at === 0 ? AT_FDCWD : listener.int(0);
  const path = pathOf(context, at);
  if (path === undefined) return "native";
  const size = listener.int(at + 2);
  const fd = openLed(context, directory, path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd === undefined || fd < 0) return fd ?? "native";
  if (size <= 0) {
    closeBrief(fd);
    return -ERRNO.EINVAL;
  }
  arena.bytes[PATH_MAX] = 0;
  const room = Math.min(size, PATH_MAX);
  const length = syscall(HOST_CALLS.readlinkat, fd, arena.address + PATH_MAX, arena.address, room);
  closeBrief(fd);
  // Of a descriptor that is of no link the kernel says ENOENT, of a path EINVAL (fs/stat.c:do_readlinkat).
  if (length < 0) return length === -ERRNO.ENOENT ? -ERRNO.EINVAL : length;
  task.memory.copyOut(listener.word(at + 1, context.abi), arena.bytes, length);
  return length;
}

/** access, faccessat, faccessat2: with the thread's effective rights; no set-user-ID program has others here. */
export function handleAccessPath(context: CallContext): Reply {
  const at = context.call === "access" ? 0 : 1;
  const { listener, credentials, task, processes, tree } = context.on;
  const path = pathOf(context, at);
  const directory = at === 0 ? AT_FDCWD : listener.int(0);
  const led = path === undefined ? undefined : tree?.lead(task.tid, directory, path);
  if (tree === undefined || led === undefined) return "native";
  context.isLed = true;
  const mode = listener.int(at + 1);
  const flags = context.call === "faccessat2" ? listener.int(3) : 0;
  const ids = credentials.assume(task.tid, processes.led(task.tid));
  const kept = (flags & AT_SYMLINK_NOFOLLOW) !== 0 ? O_NOFOLLOW : 0;
  const fd = ids.during(() => tree.open(led, O_PATH | O_CLOEXEC | kept)) ?? -ERRNO.EACCES;
  context.on.caller.prove();
  if (fd < 0) return fd;
  arena.bytes.write(`/proc/self/fd/${fd}\0`, 0, "latin1");
  const result = ids.during(() => syscall(HOST_CALLS.faccessat, AT_FDCWD, arena.address, mode)) ?? -ERRNO.EACCES;
  closeBrief(fd);
  return result;
}

/** getxattr, listxattr, and those of links: files of sysfs have no attributes that a program could name. */
export function handleXattr(context: CallContext): Reply {
  const path = pathOf(context, 0);
  const follow = context.call.startsWith("l") && context.call !== "listxattr" ? O_NOFOLLOW : 0;
  const found = path === undefined ? undefined : statLed(context, AT_FDCWD, path, follow);
  if (found === undefined) return "native";
  if (found < 0) return found;
  return context.call.endsWith("listxattr") ? 0 : -ERRNO.EOPNOTSUPP;
}

/** eventfd, eventfd2. EFD_CLOEXEC is O_CLOEXEC. */
export function handleEventfd(context: CallContext): Reply {
  const { call } = context;
  const { listener, events, installs } = context.on;
  context.isLed = true;
  if (events === undefined) return "native";
  const flags = call === "eventfd2" ? listener.int(1) : 0;
  const made = syscall(HOST_CALLS.eventfd2, listener.low(0), flags | O_CLOEXEC);
  if (made < 0) return "native";
  events.keep(made);
  return installs.give(made, flags & O_CLOEXEC);
}

function pathOf({ abi, on: { listener, task } }: CallContext, argument: number): string | undefined {
  try {
    return task.copyString(listener.word(argument, abi), PATH_MAX, "latin1");
  } catch {
    return undefined;
  }
}
