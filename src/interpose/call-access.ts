import { KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { type Word, wordAdd } from "../kernel/word.ts";
import type { CallContext, Reply } from "./call-context.ts";

/** No call moves more (MAX_RW_COUNT: INT_MAX without its last page). */
const MAX_RW_COUNT = 0x7fff_f000;
/** UIO_MAXIOV */
const MAX_VECTORS = 1024;

/** pread64, pwrite64 on our files. */
export function handleAccess(context: CallContext): Reply {
  const { listener } = context.on;
  const { abi, call } = context;
  const file = context.file(listener.int(0));
  const offset = listener.wide(3, abi);
  // A negative offset is refused before any file hears of it.
  if (file === undefined || typeof offset !== "number") return "native";
  const count = Number(listener.word(2, abi));
  context.offset = offset;
  context.length = count;
  return access(context, file.description, call === "pwrite64", listener.word(1, abi), count, offset);
}

/** preadv, pwritev and their second versions: one access for each part, until one is short (do_loop_readv_writev()). */
export function handleVectorAccess(context: CallContext): Reply {
  const { listener, task } = context.on;
  const { abi, call } = context;
  const file = context.file(listener.int(0));
  const offset = listener.wide(3, abi);
  const vectors = listener.low(2);
  if (file === undefined || typeof offset !== "number" || vectors > MAX_VECTORS) return "native";
  const size = abi.halves ? 8 : 16;
  const table = Buffer.alloc(vectors * size);
  task.memory.copyIn(listener.word(1, abi), table, table.length);
  context.offset = offset;
  const write = call === "pwritev" || call === "pwritev2";
  const number = (at: number) => (abi.halves ? table.readUInt32LE(at) : Number(table.readBigUInt64LE(at)));
  let done = 0;
  for (let at = 0; at < table.length; at += size) {
    const count = number(at + size / 2);
    context.length += count;
    let moved: number;
    try {
      moved = access(context, file.description, write, number(at), count, offset + done);
    } catch (error) {
      if (done > 0 && error instanceof KernelError) return done;
      throw error;
    }
    done += moved;
    if (moved !== count) break;
  }
  return done;
}

function access(
  { on: { task } }: CallContext,
  description: FileDescription,
  write: boolean,
  address: Word,
  count: number,
  offset: number,
): number {
  const length = Math.min(count, MAX_RW_COUNT);
  return write
    ? description.write(task, address, length, offset)
    : description.read(task, wordAdd(address, 0), length, offset);
}
