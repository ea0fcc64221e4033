import { fail } from "../kernel/errors.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { belongsInWindow } from "./descriptor-window.ts";
import { close } from "./libc.ts";
import { AT_FDCWD, O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDONLY, O_WRONLY } from "./linux.ts";

const PATH_MAX = 4096;
const flagsOfHow = new Uint8Array(8);

/** open, openat, openat2: the nodes are ours, everything else is the kernel's. */
export function handleOpen(context: CallContext): Reply {
  const { listener, task, resolver, credentials, kernel, files } = context.on;
  const { call, abi } = context;
  const directory = call === "open" ? AT_FDCWD : listener.int(0);
  const at = call === "open" ? 0 : 1;
  let path: string;
  let flags: number;
  try {
    path = task.copyString(listener.word(at, abi), PATH_MAX);
    if (call === "openat2") task.copyIn(listener.word(2, abi), flagsOfHow, 8);
    flags = call === "openat2" ? new DataView(flagsOfHow.buffer).getInt32(0, true) : listener.int(at + 1);
  } catch {
    return "native";
  }
  if ((flags & (O_PATH | O_DIRECTORY)) !== 0 || ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0)) return "native";
  const node = resolver.resolve(task.tid, directory, path, flags);
  if (node === undefined) return "native";
  const mode = flags & O_ACCMODE;
  context.path = node.path;
  const refusal = credentials.refusal(task.tid, mode !== O_WRONLY, mode !== O_RDONLY);
  if (refusal !== undefined) fail("EACCES", `${node.path} ${refusal}`);
  task.mayOpenNode = true;
  const description = kernel.open(task, node.path, flags);
  context.description = description;
  const made = files.create(description, node, flags);
  if (typeof made === "number") {
    description.release();
    return made;
  }
  const fd = listener.addDescriptor(made.fd, flags & O_CLOEXEC, belongsInWindow(description));
  if (fd < 0) files.forget(made.file);
  close(made.fd);
  if (fd >= 0) {
    context.fd = fd;
    return fd;
  }
  // The caller has no descriptor free, or was killed (ENOENT; nobody hears the answer then): nobody ever had the file.
  description.release();
  return fd === -ERRNO.ENOENT ? "native" : fd;
}
