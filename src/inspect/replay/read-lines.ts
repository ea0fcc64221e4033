import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { STDIN } from "../../machine/input-file.ts";
import { RecordingError } from "./recording-error.ts";

/** A recording has no longer line: bytes. A field's bytes in hexadecimal, and what stands around them. */
export const LINE_MAX = 16 * 2 ** 20;
const PIECE = 256 * 1024;
const NEWLINE = 10;

/**
 * The lines of a recording, one after the other, so that only one of them need be in memory.
 * @param path of a regular file; only for messages where there is `opened`
 * @param opened a file that is open already, and stays so
 * @throws RecordingError what cannot be read, what is no regular file (it may have no end), a line beyond LINE_MAX
 */
export function* readLines(path: string, opened?: number): Generator<string> {
  const fd = opened ?? open(path);
  try {
    const piece = Buffer.allocUnsafe(PIECE);
    let parts: Buffer[] = [];
    let length = 0;
    let place = 0;
    for (let number = 1, count = 0; ; ) {
      // at a place: another reader of an open file has its own
      count = read(fd, piece, place, path);
      if (count === 0) break;
      place += count;
      let from = 0;
      for (let at = piece.indexOf(NEWLINE); at >= 0 && at < count; at = piece.indexOf(NEWLINE, from)) {
        yield Buffer.concat([...parts, piece.subarray(from, at)]).toString("utf8");
        parts = [];
        length = 0;
        from = at + 1;
        number++;
      }
      if (from >= count) continue;
      length += count - from;
      if (length > LINE_MAX) {
        throw new RecordingError(`${path}:${number}: the line has more than ${LINE_MAX} bytes; this is no recording`);
      }
      parts.push(Buffer.from(piece.subarray(from, count)));
    }
    if (length > 0) yield Buffer.concat(parts).toString("utf8");
  } finally {
    if (opened === undefined) closeSync(fd);
  }
}

/** Whether a path stands for what is gone once it was read: stdin, a FIFO. */
export function isReadOnce(path: string): boolean {
  return path === STDIN || statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
}

function open(path: string): number {
  let fd: number | undefined;
  try {
    // a FIFO that nobody writes to would keep an ordinary open() waiting
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) {
      throw new RecordingError(`${path}: this is no regular file; copy the recording into one`);
    }
    return fd;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (error instanceof RecordingError) throw error;
    throw unreadable(path, error);
  }
}

function read(fd: number, into: Buffer, place: number, path: string): number {
  try {
    return readSync(fd, into, 0, into.length, place);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): RecordingError {
  return new RecordingError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
}
