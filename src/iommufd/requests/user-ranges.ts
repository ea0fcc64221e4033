import { RangeTable } from "../../address/range-table.ts";
import { fail, hex, KernelError } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import { IommuIovaRange } from "../../uapi/iommufd.ts";

/** Ranges that are copied in together: one step. */
const PIECE = 2048;
/** More ranges would take more than 256 MiB here. A kernel gives up where its memory ends, with the same errno. */
const MOST = 2 ** 24;

/** What was read of a list, up to the range that is wrong. */
interface Read {
  readonly starts: BigUint64Array<ArrayBuffer>;
  readonly lasts: BigUint64Array<ArrayBuffer>;
  readonly error: KernelError | undefined;
}

/**
 * Reads a caller's list of ranges that must not overlap, each of two bytes at least. What is wrong first in the list
 * counts (ioas.c:iommufd_ioas_load_iovas).
 * @throws KernelError EFAULT, EINVAL, ENOMEM
 */
export function* readRanges(task: Task, address: bigint, count: number): Generator<void, RangeTable> {
  if (count > MOST) fail("ENOMEM", `${count} ranges are more than the ${MOST} that uvfio takes in one list`);
  const { starts, lasts, error } = yield* load(task, address, count);
  const table = yield* RangeTable.of(starts, lasts);
  if (table === undefined) {
    const twice = starts.find((start, i) => i > 0 && start <= lasts[i - 1]!)!;
    fail("EINVAL", `two ranges of the list overlap: both have ${hex(twice)}`);
  }
  if (error) throw error;
  return table;
}

function* load(task: Task, address: bigint, count: number): Generator<void, Read> {
  const piece = new Uint32Array(PIECE * 4);
  let starts = new Uint32Array();
  let lasts = new Uint32Array();
  let at = 0;
  let error: KernelError | undefined;
  while (at < count && error === undefined) {
    const copied = copyRanges(task, address + BigInt(at * IommuIovaRange.size), piece, Math.min(PIECE, count - at));
    if (!task.memory.littleEndian) Buffer.from(piece.buffer, 0, copied.count * IommuIovaRange.size).swap64();
    if (2 * (at + copied.count) > starts.length) {
      const room = 2 * Math.min(count, Math.max(2 * at, PIECE));
      starts = grown(starts, room);
      lasts = grown(lasts, room);
    }
    error = copied.error;
    for (let from = 0; from < copied.count * 4; from += 4) {
      if (!isRising(piece, from)) {
        error = badRange(at, piece, from);
        break;
      }
      starts[2 * at] = piece[from]!;
      starts[2 * at + 1] = piece[from + 1]!;
      lasts[2 * at] = piece[from + 2]!;
      lasts[2 * at + 1] = piece[from + 3]!;
      at++;
    }
    yield;
  }
  return { starts: new BigUint64Array(starts.buffer, 0, at), lasts: new BigUint64Array(lasts.buffer, 0, at), error };
}

/** Copies ranges in, those before the first that cannot be read. */
function copyRanges(task: Task, address: bigint, into: Uint32Array, count: number) {
  const bytes = new Uint8Array(into.buffer);
  const { size } = IommuIovaRange;
  const copy = (first: number, ranges: number) => {
    const from = wordFromBigInt(address + BigInt(first * size));
    task.memory.copyIn(from, bytes.subarray(first * size, (first + ranges) * size), ranges * size);
  };
  try {
    copy(0, count);
    return { count, error: undefined };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
  for (let i = 0; i < count; i++) {
    try {
      copy(i, 1);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return { count: i, error };
    }
  }
  return { count, error: undefined };
}

/** Whether a range, four halves from `at` on, ends behind its start. */
function isRising(halves: Uint32Array, at: number): boolean {
  const startHigh = halves[at + 1]!;
  const lastHigh = halves[at + 3]!;
  return startHigh < lastHigh || (startHigh === lastHigh && halves[at]! < halves[at + 2]!);
}

function badRange(index: number, halves: Uint32Array, at: number): KernelError {
  const { start, last } = IommuIovaRange.decode(new Uint8Array(halves.buffer, at * 4, IommuIovaRange.size));
  return new KernelError("EINVAL", `range ${index} ends at ${hex(last)}, at or before its start ${hex(start)}`);
}

function grown(values: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(values);
  return larger;
}
