import { fail, KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { RequestSteps } from "../kernel/request-steps.ts";
import { type Word, wordAdd, wordFromHalves } from "../kernel/word.ts";
import type { CallContext, Reply } from "./call-context.ts";
import type { InjectedFile } from "./injected-file.ts";
import { O_RDWR, O_WRONLY, RWF_HIPRI, SEEK_MAX } from "./linux.ts";
import type { TrappedCall } from "./syscall-table.ts";

/** No call moves more (MAX_RW_COUNT: INT_MAX without its last page). */
const MAX_RW_COUNT = 0x7fff_f000;
/** UIO_MAXIOV */
const MAX_VECTORS = 1024;
const MINUS_ONE = 0xffff_ffff_ffff_ffffn;

/** read, write, pread64, pwrite64 on our files. */
export function handleAccess(context: CallContext): Reply {
  const { listener, caller } = context.on;
  const { abi, call } = context;
  const file = context.file(listener.int(0));
  const write = call === "write" || call === "pwrite64";
  if (file === undefined || isWrongMode(file, write)) return "native";
  caller.proveFile();
  const atPosition = call === "read" || call === "write";
  const offset = atPosition ? file.description.position : listener.wide(3, abi);
  if (isNegative(offset)) return "native";
  if (!atPosition) refuseOffset(file.description);
  const count = Number(listener.word(2, abi));
  context.offset = offset;
  context.length = count;
  const moved = access(context, file.description, write, listener.word(1, abi), count, offset);
  return settle(context, file.description, moved, atPosition);
}

/**
 * readv, writev, preadv, pwritev and their second versions: one access for each segment, until one is short
 * (do_loop_readv_writev()).
 */
export function handleVectorAccess(context: CallContext): Reply {
  const { listener, caller } = context.on;
  const { call } = context;
  const file = context.file(listener.int(0));
  const write = WRITES.has(call);
  if (file === undefined || isWrongMode(file, write) || listener.low(2) > MAX_VECTORS) return "native";
  caller.prove();
  const { description } = file;
  const given = call === "readv" || call === "writev" ? MINUS_ONE : listener.wide(3, context.abi);
  const isSecond = call === "preadv2" || call === "pwritev2";
  const atPosition = call === "readv" || call === "writev" || (isSecond && given === MINUS_ONE);
  const offset = atPosition ? description.position : given;
  if (isNegative(offset)) return "native";
  if (!atPosition) refuseOffset(description);
  context.offset = offset;
  const segments = readSegments(context, listener.low(2));
  if (isSecond && description.kind === "device" && (listener.low(5) & ~RWF_HIPRI) !== 0) {
    fail("EOPNOTSUPP", `${description.label} takes no flags with ${call}`);
  }
  return settle(context, description, accessSegments(context, description, write, segments, offset), atPosition);
}

/**
 * lseek and _llseek: VFIO's files have a position but no way to set it (fs/read_write.c:vfs_llseek without an
 * f_op->llseek).
 */
export function handleSeek(context: CallContext): Reply {
  const { listener } = context.on;
  const file = context.file(listener.int(0));
  const whence = listener.low(context.call === "_llseek" ? 4 : 2);
  if (file === undefined || whence > SEEK_MAX) return "native";
  fail("ESPIPE", `the position of ${file.description.label} cannot be set; pread and pwrite take an offset`);
}

const WRITES: ReadonlySet<TrappedCall> = new Set<TrappedCall>(["writev", "pwritev", "pwritev2"]);

/** Opened for the other direction only: the kernel says so before a file hears of it (EBADF). */
function isWrongMode({ mode }: InjectedFile, write: boolean): boolean {
  return mode !== O_RDWR && write !== (mode === O_WRONLY);
}

/** Streams have no offsets (FMODE_PREAD). */
function refuseOffset(description: FileDescription): void {
  if (description.readiness) fail("ESPIPE", `${description.label} is read and written without an offset`);
}

/** Ends an access, now or for as long as it takes. */
function settle(
  context: CallContext,
  description: FileDescription,
  moved: number | RequestSteps,
  atPosition: boolean,
): Reply {
  if (typeof moved !== "number")
    return context.on.longCalls.begin(context, atPosition ? advancing(description, moved) : moved);
  if (atPosition) advance(description, moved);
  return moved;
}

function* advancing(description: FileDescription, steps: RequestSteps): RequestSteps {
  const moved = yield* steps;
  advance(description, moved);
  return moved;
}

function advance(description: FileDescription, moved: number): void {
  if (!description.readiness) description.position += moved;
}

/** An offset that the kernel refuses before any file hears of it. */
function isNegative(offset: Word): boolean {
  return typeof offset === "bigint" && offset >= 1n << 63n;
}

interface Segment {
  readonly address: Word;
  /** Bytes. */
  readonly length: number;
}

/** The caller's array of struct iovec, checked and cut as lib/iov_iter.c:__import_iovec does. */
function readSegments(context: CallContext, count: number): Segment[] {
  const { listener, task } = context.on;
  const { halves } = context.abi;
  const size = halves ? 8 : 16;
  const table = Buffer.alloc(count * size);
  task.memory.copyIn(listener.word(1, context.abi), table, table.length);
  const word = (at: number) =>
    halves ? table.readUInt32LE(at) : wordFromHalves(table.readUInt32LE(at), table.readUInt32LE(at + 4));
  const segments = Array.from({ length: count }, (_, i) => ({
    address: word(i * size),
    length: Number(word(i * size + size / 2)),
  }));
  const tooLong = halves ? 2 ** 31 : 2 ** 63;
  if (segments.some(({ length }) => length >= tooLong)) fail("EINVAL", "a segment's length is negative");
  let room = MAX_RW_COUNT;
  return segments.map(({ address, length }) => {
    const taken = Math.min(length, room);
    room -= taken;
    return { address, length: taken };
  });
}

function* accessSegments(
  context: CallContext,
  description: FileDescription,
  write: boolean,
  segments: readonly Segment[],
  offset: Word,
): RequestSteps {
  let done = 0;
  for (const { length } of segments) context.length += length;
  // A file that cannot be read at all says so even when nothing is asked for.
  if (context.length === 0) return yield* stepsOf(access(context, description, write, 0, 0, offset));
  for (const { address, length } of segments) {
    let moved: number;
    try {
      moved = yield* stepsOf(access(context, description, write, address, length, wordAdd(offset, done)));
    } catch (error) {
      if (done > 0 && error instanceof KernelError) return done;
      throw error;
    }
    done += moved;
    if (moved !== length) break;
  }
  return done;
}

function access(
  { on: { task } }: CallContext,
  description: FileDescription,
  write: boolean,
  address: Word,
  count: number,
  offset: Word,
): number | RequestSteps {
  const length = Math.min(count, MAX_RW_COUNT);
  return write
    ? description.writeInSteps(task, address, length, offset)
    : description.readInSteps(task, address, length, offset);
}

function* stepsOf(outcome: number | RequestSteps): RequestSteps {
  return typeof outcome === "number" ? outcome : yield* outcome;
}
