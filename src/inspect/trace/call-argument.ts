import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { RequestRow } from "../../uapi/requests/request-row.ts";
import { StructView } from "../../uapi/struct-view.ts";

/** Of structures with a length of their own, at most this much is recorded. Bytes. */
export const STRUCT_MAX = 16384;
const NAME_MAX = 4096;
/** Memory of programs ends behind a multiple of that. Bytes. */
export const PAGE = 4096;

/** What a call was made with. */
export interface Argument {
  readonly kind: "none" | "null" | "int" | "bytes";
  readonly bytes: Uint8Array;
  /** Whether readable memory ends behind the bytes, before the structure does. */
  readonly edge: boolean;
}

const VALUE: Argument = { kind: "int", bytes: new Uint8Array(), edge: false };

/** The argument of a request as it is before the call; what cannot be read is a number. */
export function readArgument(task: Task, arg: Word, row: RequestRow | undefined): Argument {
  if (row === undefined || row.argument === "none") return arg === 0 ? { ...VALUE, kind: "none" } : VALUE;
  if (row.argument === "value") return VALUE;
  if (arg === 0) return { ...VALUE, kind: "null" };
  if (row.argument === "fd") return orValue(readBytes(task, arg, 4));
  if (row.argument === "string") {
    const { bytes, edge } = readBytes(task, arg, NAME_MAX);
    const end = bytes.indexOf(0);
    return end < 0
      ? orValue({ kind: "bytes", bytes, edge })
      : { kind: "bytes", bytes: bytes.slice(0, end + 1), edge: false };
  }
  const { size } = row.struct!.layout;
  const fixed = readBytes(task, arg, size);
  if (fixed.bytes.length < 4 || fixed.edge) return orValue(fixed);
  const said = new StructView(fixed.bytes, task.memory.littleEndian).u32(0);
  return said <= size ? fixed : orValue(readBytes(task, arg, Math.min(said, STRUCT_MAX)));
}

/**
 * Whether a request has a structure that begins with its size in bytes ("argsz" of VFIO, "size" of iommufd): whoever
 * carries it out must read that first.
 */
export function tellsItsSize({ argument, struct }: RequestRow, arg: Word): boolean {
  if (argument !== "struct" || arg === 0) return false;
  const { offsets } = struct!.layout;
  return offsets.argsz === 0 || offsets.size === 0;
}

/**
 * The argument of a request whose structure tells its size, from bytes that were read of it; undefined when there is
 * more.
 */
export function wholeArgument(task: Task, bytes: Uint8Array, { struct }: RequestRow): Argument | undefined {
  const { size } = struct!.layout;
  if (bytes.length < size) return undefined;
  // a view of these few bytes takes as long as all the rest
  const said = task.memory.littleEndian
    ? (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0
    : new StructView(bytes, false).u32(0);
  const length = said <= size ? size : Math.min(said, STRUCT_MAX);
  return bytes.length < length ? undefined : { kind: "bytes", bytes: bytes.slice(0, length), edge: false };
}

/** As many of `length` bytes as can be read. */
export function readBytes(task: Task, address: Word, length: number): Argument {
  const bytes = new Uint8Array(length);
  if (typeof address !== "number") return { ...VALUE, kind: "bytes" };
  if (tryCopy(task, address, bytes)) return { kind: "bytes", bytes, edge: false };
  let done = 0;
  while (done < length) {
    const part = bytes.subarray(done, Math.min(length, done + PAGE - ((address + done) % PAGE)));
    if (!tryCopy(task, address + done, part)) break;
    done += part.length;
  }
  return { kind: "bytes", bytes: bytes.slice(0, done), edge: true };
}

/** The same argument, of which only the first bytes can be read. */
export function upTo({ bytes }: Argument, length: number): Argument {
  return orValue({ kind: "bytes", bytes: bytes.slice(0, length), edge: true });
}

function orValue(argument: Argument): Argument {
  return argument.bytes.length === 0 ? VALUE : argument;
}

function tryCopy(task: Task, address: number, into: Uint8Array): boolean {
  try {
    task.memory.copyIn(address, into, into.length);
    return true;
  } catch {
    return false;
  }
}
