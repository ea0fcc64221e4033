import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { RecordingError } from "./recording-error.ts";

/** A recording has no longer line: bytes. A field's bytes in hexadecimal, and what stands around them. */
export const LINE_MAX = 16 * 2 ** 20;
const PIECE = 256 * 1024;
const NEWLINE = 10;

/**
 * The lines of a recording, one after the other, so that only one of them need be in memory.
 * @throws RecordingError what cannot be read, what is no regular file (it may have no end), a line beyond LINE_MAX
 */
export function* readLines(path: string): Generator<string> {
  const fd = open(path);
  try {
    const piece = Buffer.allocUnsafe(PIECE);
    let parts: Buffer[] = [];
    let length = 0;
    for (let number = 1, count = read(fd, piece, path); count > 0; count = read(fd, piece, path)) {
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
    closeSync(fd);
  }
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

function read(fd: number, into: Buffer, path: string): number {
  try {
    return readSync(fd, into);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): RecordingError {
  return new RecordingError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
}
