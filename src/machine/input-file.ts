import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { bytesOfText } from "../uapi/byte-text.ts";

/** What stands for stdin wherever a file can be named. */
export const STDIN = "-";

/** A file that cannot be read, or that no person would write. The message says why, without the file's name. */
export class InputFileError extends Error {
  /** Of the system call, where one failed. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.name = "InputFileError";
    this.code = code;
  }
}

/** Bytes that are read at once. */
const CHUNK = 1 << 20;
/**
 * How long a FIFO may be without anybody who has it open for writing, and how long a writer may say nothing.
 * Milliseconds.
 */
const NO_WRITER_MS = 5_000;
const SILENT_WRITER_MS = 60_000;
const POLL_MS = 10;

/**
 * Reads a text file, or stdin for "-". Never more than `most` bytes, and never for ever: a FIFO that nobody writes to
 * is given up. Stdin is waited for like any filter does.
 * @throws InputFileError
 */
export function readInput(path: string, most: number): string {
  return readInputBytes(path, most).toString("utf8");
}

/** For messages: what the reader knows as the file's name. */
export function inputName(path: string): string {
  return path === STDIN ? "stdin" : path;
}

/** What stdin had is gone once it was read. */
let stdinWasRead = false;

function readInputBytes(path: string, most: number): Buffer {
  const chunks: Buffer[] = [];
  readInputChunks(path, most, (bytes) => {
    if (bytes.includes(0)) throw new InputFileError("holds bytes that no text has (NUL): it is not a text file");
    chunks.push(bytes.length < CHUNK / 2 ? Buffer.from(bytes) : bytes);
  });
  return Buffer.concat(chunks);
}

/**
 * Reads a file of any bytes, or stdin for "-", piece by piece, with the bounds of readInput().
 * @param take gets each piece, which is its own to keep
 * @throws InputFileError
 */
export function readInputChunks(path: string, most: number, take: (bytes: Buffer) => void): void {
  if (path === STDIN && stdinWasRead)
    throw new InputFileError("was read already: - can stand for one of the files only");
  stdinWasRead ||= path === STDIN;
  const fd = path === STDIN ? 0 : attempt(() => openSync(bytesOfText(path), constants.O_RDONLY | constants.O_NONBLOCK));
  try {
    const stat = attempt(() => fstatSync(fd));
    if (stat.isDirectory()) throw refusal("EISDIR");
    if (stat.isFile() && stat.size > most) throw tooLarge(most);
    readAll(fd, most, fd === 0 ? Number.POSITIVE_INFINITY : undefined, take);
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

/** @param patience for every wait; left out, that of a FIFO */
function readAll(fd: number, most: number, patience: number | undefined, take: (bytes: Buffer) => void): void {
  let total = 0;
  let waited = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const length = readSome(fd, chunk);
    const isEnd = length === 0 && (total > 0 || patience !== undefined || !attempt(() => fstatSync(fd)).isFIFO());
    if (isEnd) return;
    if (length > 0) {
      waited = 0;
      total += length;
      if (total > most) throw tooLarge(most);
      take(chunk.subarray(0, length));
      continue;
    }
    if (waited >= (patience ?? (length === 0 ? NO_WRITER_MS : SILENT_WRITER_MS)))
      throw new InputFileError(`is a FIFO that nobody writes to; gave up after ${Math.round(waited / 1000)} s`);
    sleep(POLL_MS);
    waited += POLL_MS;
  }
}

/** Bytes that were read; 0 at the end, and where a FIFO has no writer; -1 where there is nothing yet. */
function readSome(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into, 0, into.length, null);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN") return -1;
    if (code === "EOF") return 0;
    throw refusal(code ?? String(error));
  }
}

function attempt<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw refusal((error as NodeJS.ErrnoException).code ?? String(error));
  }
}

const WORDS: Readonly<Record<string, string>> = {
  EISDIR: "it is a directory",
  ENXIO: "it is a socket, or a device that is not there",
  EACCES: "no permission",
  EMFILE: "the limit of open files, ulimit -n, is too low",
};

function refusal(code: string): InputFileError {
  return new InputFileError(`cannot be read (${code}${WORDS[code] ? `: ${WORDS[code]}` : ""})`, code);
}

function tooLarge(most: number): InputFileError {
  return new InputFileError(`is larger than ${most >> 20} MiB: it cannot be what is wanted here`);
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Holds this thread up: for commands that do nothing else meanwhile. Milliseconds. */
export function sleep(milliseconds: number): void {
  Atomics.wait(never, 0, 0, milliseconds);
}
