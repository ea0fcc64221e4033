import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { openLedFile } from "./call-led.ts";
import {
  AT_FDCWD,
  O_ACCMODE,
  O_APPEND,
  O_ASYNC,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_LARGEFILE,
  O_NOATIME,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  OPEN_HOW_SIZE,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "./linux.ts";
import type { Opening } from "./path-resolver.ts";
import { statPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { ProcStatusFile } from "./proc-status-file.ts";
import { failInstall } from "./program-files.ts";

const PATH_MAX = 4096;
/** What openat2() is asked for beside O_ACCMODE's and is dealt with here; all other flags are the kernel's to judge. */
const KNOWN_FLAGS =
  O_ACCMODE |
  O_APPEND |
  O_ASYNC |
  O_CLOEXEC |
  O_CREAT |
  O_DIRECT |
  O_DSYNC |
  O_LARGEFILE |
  O_NOCTTY |
  O_NOFOLLOW |
  O_NONBLOCK |
  O_PATH |
  O_DIRECTORY |
  O_SYNC |
  O_TRUNC;
const KNOWN_RESOLVE = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT;
const how = new Uint8Array(OPEN_HOW_SIZE);

/** open, openat, openat2: the nodes are ours, everything else is the kernel's. */
export function handleOpen(context: CallContext): Reply {
  const { task, resolver, credentials, kernel, files, caller, installs } = context.on;
  caller.isHarmless = true;
  const opening = readOpening(context);
  if (opening === undefined) return "native";
  const { tree } = context.on;
  if ((opening.flags & (O_PATH | O_DIRECTORY)) !== 0 && tree !== undefined) {
    const led = openLedFile(context, opening);
    if (led !== undefined) return led;
  }
  // no node is a directory
  if ((opening.flags & O_DIRECTORY) !== 0) return "native";
  if ((opening.flags & O_PATH) !== 0) {
    context.on.files.arePathsOpen ||= resolver.isMagic(opening);
    return "native";
  }
  const target = resolver.resolve(opening);
  if (target === undefined) {
    const opened = openProcFile(context, opening);
    if (opened !== undefined) return opened;
    if (tree) {
      const led = openLedFile(context, opening);
      if (led === -ERRNO.ENOENT) refuseMissing(context, opening);
      if (led !== undefined) return led;
    }
    refuseMissing(context, opening);
    refuseUnserved(context, opening);
    return "native";
  }
  caller.prove();
  caller.isHarmless = false;
  const node = target.node ?? target.file?.node;
  // What no driver's open() made, none can open again (fs/libfs.c:alloc_anon_inode and no_open).
  if (node === undefined) fail("ENXIO", `${target.file?.description.label} cannot be opened by a path`);
  const { flags } = opening;
  const mode = flags & O_ACCMODE;
  context.path = node.path;
  const refusal = credentials.refusal(task.tid, target.ids, target, {
    read: mode !== O_WRONLY,
    write: mode !== O_RDONLY,
  });
  if (refusal !== undefined) fail("EACCES", `${node.path} ${refusal}`);
  task.mayOpenNode = true;
  const description = kernel.open(task, node.path, flags);
  context.description = description;
  const made = files.create(description, { ...target, node }, flags);
  if (typeof made === "number") {
    description.release();
    failInstall(made, description.label);
  }
  const fd = installs.add(made, flags & O_CLOEXEC);
  if (fd >= 0) {
    context.fd = fd;
    return fd;
  }
  // The caller has no descriptor free, or was killed (ENOENT; nobody hears the answer then): nobody ever had the file.
  description.release();
  return fd === -ERRNO.ENOENT ? "native" : fd;
}

/** /proc/self/task/4711/fail-nth, and the other ways to write it. */
const PROC_FILE = /^\/proc\/(?:self|thread-self|(\d+))(?:\/task\/(\d+))?\/([a-z-]+)$/;

/**
 * A file in /proc that says something of the model: of those that the host's kernel has for the caller's threads and
 * the machine's has not, and what a process has pinned. Undefined for all others.
 */
function openProcFile(context: CallContext, { path, flags }: Opening): number | undefined {
  const { task, files, caller, installs } = context.on;
  const [, process, thread, name] = PROC_FILE.exec(path) ?? [];
  if (name === undefined) return undefined;
  const number = Number(thread ?? process ?? (path.startsWith("/proc/thread-self/") ? task.tid : task.pid));
  const description = name === "status" ? statusOf(context, number) : threadFile(context, number, name);
  caller.prove();
  if (!description) return undefined;
  const made = files.create(description, undefined, flags);
  if (typeof made === "number") {
    description.release();
    failInstall(made, description.label);
  }
  const fd = installs.add(made, flags & O_CLOEXEC);
  if (fd < 0) description.release();
  return fd;
}

function threadFile({ on: { task, kernel } }: CallContext, thread: number, name: string): FileDescription | undefined {
  if (!kernel.procFile) return undefined;
  const isOwn = statPath(AT_FDCWD, `/proc/${task.pid}/task/${thread}`) === 0;
  const isReal = statPath(AT_FDCWD, `/proc/${task.pid}/task/${thread}/${name}`) === 0;
  return isOwn && !isReal ? kernel.procFile(task, thread, name) : undefined;
}

/** Undefined for a process that nothing is held of: the machine's kernel says all. */
function statusOf({ on: { processes } }: CallContext, pid: number): FileDescription | undefined {
  const memory = processes.led(pid)?.memory;
  if (!memory || memory.pinnedPages + memory.lockedPages === 0) return undefined;
  const text = readProc(pid, "status");
  const kilobytes = (pages: number) => (pages * memory.pageSize) / 1024;
  const added = { VmLck: kilobytes(memory.lockedPages), VmPin: kilobytes(memory.pinnedPages) };
  return text === undefined ? undefined : new ProcStatusFile(pid, text, added);
}

/** Where the host would have nodes. */
const NODES = /^\/dev\/(?:vfio\/[\w/.-]+|iommu)$/;

/** A node that is not there: the kernel would say so, too, but not why. */
function refuseMissing(context: CallContext, { path, flags }: Opening): void {
  const { kernel, task, nodes, resolver } = context.on;
  if (!kernel.whyMissing || (flags & O_CREAT) !== 0 || !NODES.test(path) || nodes.hasPath(path)) return;
  if (!resolver.isMissing({ tid: task.tid, path })) return;
  context.on.caller.prove();
  context.path = path;
  fail("ENOENT", kernel.whyMissing(path));
}

/** A write to a file of the host's /sys, which nobody serves: the kernel would refuse it, too, but not say why. */
function refuseUnserved(context: CallContext, { path, flags }: Opening): void {
  const { sysfs, resolver, task, caller } = context.on;
  if (sysfs.isServed || (flags & O_ACCMODE) === O_RDONLY || !path.startsWith("/sys/")) return;
  if (!resolver.isOn(sysfs, { tid: task.tid, path })) return;
  caller.prove();
  context.path = path;
  fail(
    "EROFS",
    `the host's /sys is not served here, so that ${path} does nothing: /dev/fuse cannot be had (docs/sysfs.md; in a container: docker run --device /dev/fuse)`,
  );
}

/** What the call asks for; undefined when it can be no node, or asks for what the kernel refuses or has a say in. */
function readOpening({ call, abi, on: { listener, task } }: CallContext): Opening | undefined {
  const at = call === "open" ? 0 : 1;
  const opening = { tid: task.tid, directory: call === "open" ? AT_FDCWD : listener.int(0), resolve: 0 };
  try {
    const path = task.copyString(listener.word(at, abi), PATH_MAX, "latin1");
    if (call !== "openat2") return withFlags({ ...opening, path, flags: listener.int(at + 1) });
    // A longer structure than ours is of a kernel that knows more, and the kernel's.
    if (Number(listener.word(3, abi)) !== OPEN_HOW_SIZE) return undefined;
    task.copyIn(listener.word(2, abi), how, OPEN_HOW_SIZE);
    const view = new DataView(how.buffer);
    const flags = view.getInt32(0, true);
    const resolve = view.getInt32(16, true);
    const others = view.getUint32(4, true) | view.getUint32(12, true) | view.getUint32(20, true);
    const mode = view.getUint32(8, true);
    if (others !== 0 || (flags & ~KNOWN_FLAGS) !== 0 || (resolve & ~KNOWN_RESOLVE) !== 0) return undefined;
    // mode without a file to make, or of more than permissions; both roots at once
    if ((mode !== 0 && (flags & O_CREAT) === 0) || mode > 0o7777) return undefined;
    if ((resolve & RESOLVE_BENEATH) !== 0 && (resolve & RESOLVE_IN_ROOT) !== 0) return undefined;
    return withFlags({ ...opening, path, flags, resolve });
  } catch {
    return undefined;
  }
}

function withFlags(opening: Opening): Opening | undefined {
  const { flags } = opening;
  if ((flags & O_PATH) !== 0) return opening;
  if ((flags & (O_TMPFILE | O_NOATIME)) !== 0) return undefined;
  return (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0 ? undefined : opening;
}
