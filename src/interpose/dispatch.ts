import { KernelError } from "../kernel/errors.ts";
import { monotonic } from "../kernel/monotonic.ts";
import { wordAdd } from "../kernel/word.ts";
import { ERRNO } from "../uapi/errno.ts";
import { handleAccess, handleSeek, handleVectorAccess } from "./call-access.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { handleIoctl, handleMount, handleWaiting } from "./call-ioctl.ts";
import { handleAccessPath, handleEventfd, handleReadlink, handleXattr } from "./call-led.ts";
import { handleMmap } from "./call-mmap.ts";
import { handleOpen } from "./call-open.ts";
import { handlePathStat, handleStat, handleStatAt } from "./call-stat.ts";
import { handleStatfs } from "./call-statfs.ts";
import { FinishedCallReport } from "./finished-call.ts";
import type { Observer } from "./observer.ts";
import type { Taken } from "./parked-calls.ts";
import { installError } from "./program-files.ts";
import type { SlowLooks } from "./slow-looks.ts";
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
  fstatfs: handleStatfs,
  stat: handlePathStat,
  stat64: handlePathStat,
  lstat: handlePathStat,
  lstat64: handlePathStat,
  newfstatat: handleStatAt,
  fstatat64: handleStatAt,
  statx: handleStatAt,
  execve: handleExec,
  execveat: handleExec,
  userfaultfd: handleWaiting,
  mount: handleMount,
  unshare: handleNamespace,
  setns: handleNamespace,
  fsopen: handleMount,
  readlink: handleReadlink,
  readlinkat: handleReadlink,
  access: handleAccessPath,
  faccessat: handleAccessPath,
  faccessat2: handleAccessPath,
  getxattr: handleXattr,
  lgetxattr: handleXattr,
  listxattr: handleXattr,
  llistxattr: handleXattr,
  eventfd: handleEventfd,
  eventfd2: handleEventfd,
};

function handleExec({ on: { processes, task } }: CallContext): Reply {
  processes.beforeExec(task.tid);
  return "native";
}

function handleNamespace({ on: { processes, task } }: CallContext): Reply {
  processes.beforeNamespace(task.tid);
  return "native";
}

/**
 * Handles the notification that the listener holds: exactly one answer, whatever the model does, and now, unless the
 * caller's memory or files have to be waited for.
 * @param taken what is known of a call that is made again, and when it was made first
 */
export function dispatch(context: CallContext, observer: Observer | undefined, taken?: Taken): void {
  const { listener, task, caller, looks, installs } = context.on;
  const start = began(observer);
  const calls = names.of(listener.arch);
  const call = calls?.names[listener.number];
  if (calls === undefined || call === undefined) {
    listener.continue();
    return;
  }
  task.use(listener.tid);
  context.begin(call, calls.abi);
  looks.begin(taken);
  caller.isHarmless = false;
  installs.pending = undefined;
  conclude(context, observer, start, HANDLERS[call]);
}

/** When the handling of a call begins: the clock is read for those who hear of all calls. */
function began(observer: Observer | undefined): number {
  return observer?.finished === undefined ? 0 : monotonic();
}

/** Goes on for a moment with a call that takes long. */
export function resumeLongCall(context: CallContext, observer: Observer | undefined, milliseconds: number): void {
  const start = began(observer);
  context.on.longCalls.run(context, milliseconds, (goOn) => conclude(context, observer, start, goOn));
}

/** Answers the call in hand with what `handle` returns or throws, unless that is for later. */
function conclude(
  context: CallContext,
  observer: Observer | undefined,
  start: number,
  handle: (context: CallContext) => Reply,
): void {
  const { listener, task, looks, parked, installs } = context.on;
  let reply: Reply;
  let error: KernelError | undefined;
  try {
    reply = handle(context);
  } catch (thrown) {
    if (thrown instanceof KernelError) {
      error = thrown;
      reply = -thrown.errno;
    } else {
      reply = -ERRNO.EIO;
      observer?.broken?.(brokenMessage(context, thrown), thrown);
    }
  }
  // texts are looked at when it is one: comparing what may be a number with a text takes a call
  if (typeof reply === "string" && reply === "later") return;
  const install = installs.take();
  const writes = looks.takeWrites();
  const outcome: Outcome = { reply, error, start };
  const blocked = looks.isBlocked && (reply === "native" || reply < 0) ? looks.takeBlocked() : undefined;
  if (install !== undefined) {
    const held = context.copy();
    parked.untilInstalled(install, (number) => {
      if (parked.untilTaken(blocked)) return;
      task.use(listener.tid);
      goOn(held, observer, installed(held, outcome, install.promised, number), writes);
    });
    return;
  }
  if (parked.untilTaken(blocked)) return;
  goOn(context, observer, outcome, writes);
}

/** The outcome of a call when it is known what its caller's new descriptor is, which it has taken for `promised`. */
function installed(context: CallContext, outcome: Outcome, promised: number, number: number): Outcome {
  if (context.fd === promised) context.fd = number;
  if (number < 0) {
    const error = installError(number, context.description?.label ?? "its file");
    return { ...outcome, reply: -error.errno, error };
  }
  if (outcome.reply === promised) return { ...outcome, reply: number };
  if (outcome.error === undefined) writeDescriptor(context, number);
  return outcome;
}

/** A request that answers with a descriptor in its structure has written what it was promised; the number comes now. */
function writeDescriptor({ description, request, argument, on: { task } }: CallContext, number: number): void {
  const row = description?.dialect.row(request);
  if (row?.outFd === undefined || !row.struct) return;
  const bytes = new Uint8Array(Int32Array.of(number).buffer);
  try {
    task.memory.copyOut(wordAdd(argument, row.struct.layout.offsets[row.outFd]!), bytes, bytes.length);
  } catch (error) {
    // it could be written a moment ago: the program has unmapped it since, and will not look
    if (!(error instanceof KernelError)) throw error;
  }
}

/** Answers the call in hand when what it writes to its caller is there. */
function goOn(
  context: CallContext,
  observer: Observer | undefined,
  outcome: Outcome,
  writes: ReturnType<SlowLooks["takeWrites"]>,
): void {
  const { listener, task, parked } = context.on;
  if (writes.length === 0) {
    answer(context, observer, outcome);
    return;
  }
  const later = context.copy();
  const failed: Outcome = { reply: -ERRNO.EFAULT, error: unwritten(), start: outcome.start };
  parked.untilWritten(writes, (written) => {
    task.use(listener.tid);
    answer(later, observer, written ? outcome : failed);
  });
}

/** How the handling of a call ended, and when it began. */
interface Outcome {
  readonly reply: Exclude<Reply, "later">;
  readonly error: KernelError | undefined;
  readonly start: number;
}

function unwritten(): KernelError {
  return new KernelError("EFAULT", "the program cannot write there itself");
}

function answer(context: CallContext, observer: Observer | undefined, { reply, error, start }: Outcome): void {
  const { listener } = context.on;
  const finished = observer === undefined ? undefined : report(context, observer, reply, error);
  if (observer === undefined || finished === undefined) {
    if (typeof reply === "string") listener.continue();
    else listener.answer(reply);
    return;
  }
  const tell = (delivered: boolean) => {
    try {
      finished.delivered = delivered;
      observer.finished?.(finished);
      if (finished.result < 0) observer.failed?.(finished);
    } catch (thrown) {
      // Somebody who only watches must not end the program's host.
      observer.broken?.(`internal error in the observer: ${String(thrown)}`, thrown);
    }
  };
  if (start > 0) finished.microseconds = (monotonic() - start) * 1000;
  // why a call failed is said before its program says so
  if (finished.result < 0) listener.mayHold = false;
  if (typeof reply === "string") listener.continue(tell);
  else listener.answer(reply, tell);
}

/** What to tell the observer, or undefined when it does not want to know. */
function report(
  context: CallContext,
  observer: Observer,
  reply: Exclude<Reply, "later">,
  error: KernelError | undefined,
): FinishedCallReport | undefined {
  // A call that is not for us is not reported: those that go on natively, unless they are about a file of ours.
  if (reply === "native" && context.description === undefined) return undefined;
  if (context.isLed && error === undefined) return undefined;
  const result = reply === "native" ? 0 : reply;
  if (observer.finished === undefined && (result >= 0 || observer.failed === undefined)) return undefined;
  return new FinishedCallReport(context, result, error, observer.namesAll === true || result < 0);
}

function brokenMessage({ call, description, request, path }: CallContext, thrown: unknown): string {
  const what = description?.label ?? path ?? "a file";
  const which = request === 0 ? "" : ` 0x${request.toString(16)}`;
  return `internal error in ${call}${which} on ${what}: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
}
