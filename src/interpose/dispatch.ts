import { KernelError } from "../kernel/errors.ts";
import { ERRNO } from "../uapi/errno.ts";
import { handleAccess, handleSeek, handleVectorAccess } from "./call-access.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { handleIoctl } from "./call-ioctl.ts";
import { handleMmap } from "./call-mmap.ts";
import { handleOpen } from "./call-open.ts";
import { handleStat } from "./call-stat.ts";
import type { FinishedCall, Observer } from "./observer.ts";
import { CallNames, type TrappedCall } from "./syscall-table.ts";

const names = new CallNames();

const HANDLERS: Readonly<Record<TrappedCall, (context: CallContext) => Reply>> = {
  open: handleOpen,
  openat: handleOpen,
  openat2: handleOpen,
  ioctl: handleIoctl,
  read: handleAccess,
  write: handleAccess,
  readv: handleVectorAccess,
  writev: handleVectorAccess,
  lseek: handleSeek,
  _llseek: handleSeek,
  pread64: handleAccess,
  pwrite64: handleAccess,
  preadv: handleVectorAccess,
  pwritev: handleVectorAccess,
  preadv2: handleVectorAccess,
  pwritev2: handleVectorAccess,
  mmap: handleMmap,
  mmap2: handleMmap,
  fstat: handleStat,
  fstat64: handleStat,
  newfstatat: handleStat,
  fstatat64: handleStat,
  statx: handleStat,
  execve: handleExec,
  execveat: handleExec,
};

function handleExec({ on: { processes, task } }: CallContext): Reply {
  processes.beforeExec(task.tid);
  return "native";
}

/** Handles the notification that the listener holds: exactly one answer, whatever the model does. */
export function dispatch(context: CallContext, observer: Observer | undefined): void {
  const { listener, task } = context.on;
  const start = observer === undefined ? 0 : performance.now();
  const abi = names.abi(listener.arch);
  const call = names.name(listener.arch, listener.number);
  if (abi === undefined || call === undefined) {
    listener.continue();
    return;
  }
  task.use(listener.tid);
  context.begin(call, abi);
  let reply: Reply;
  let error: KernelError | undefined;
  try {
    reply = HANDLERS[call](context);
  } catch (thrown) {
    if (thrown instanceof KernelError) {
      error = thrown;
      reply = -thrown.errno;
    } else {
      reply = -ERRNO.EIO;
      observer?.broken?.(brokenMessage(context, thrown), thrown);
    }
  }
  const finished = observer === undefined ? undefined : report(context, observer, reply, error);
  const delivered = reply === "native" ? listener.continue() : listener.answer(reply);
  if (observer === undefined || finished === undefined) return;
  try {
    const call = { ...finished, delivered, microseconds: (performance.now() - start) * 1000 };
    observer.finished?.(call);
    if (call.result < 0) observer.failed?.(call);
  } catch (thrown) {
    // Somebody who only watches must not end the program's host.
    observer.broken?.(`internal error in the observer: ${String(thrown)}`, thrown);
  }
}

/**
 * What to tell the observer, or undefined when it does not want to know. Made before the answer, because a program may
 * end as soon as it has that.
 */
function report(
  context: CallContext,
  observer: Observer,
  reply: Reply,
  error: KernelError | undefined,
): Omit<FinishedCall, "delivered" | "microseconds"> | undefined {
  // A call that is none of ours is not reported: those that go on natively, unless they are about a file of ours.
  if (reply === "native" && context.description === undefined) return undefined;
  const result = reply === "native" ? 0 : reply;
  if (observer.finished === undefined && (result >= 0 || observer.failed === undefined)) return undefined;
  const { task, processes } = context.on;
  return {
    call: context.call,
    tid: task.tid,
    pid: processes.of(task.tid)?.pid ?? task.tid,
    program: task.name,
    fd: context.fd,
    kind: context.description?.kind,
    label: context.description?.label,
    dialect: context.description?.dialect,
    request: context.request,
    argument: context.argument,
    path: context.path,
    offset: context.offset,
    length: context.length,
    result,
    error,
  };
}

function brokenMessage({ call, description, request, path }: CallContext, thrown: unknown): string {
  const what = description?.label ?? path ?? "a file";
  const which = request === 0 ? "" : ` 0x${request.toString(16)}`;
  return `internal error in ${call}${which} on ${what}: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
}
