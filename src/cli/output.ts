import { closeSync, constants, openSync, statSync, writeSync } from "node:fs";
import { printable } from "../kernel/printable.ts";
import { sleep } from "../machine/input-file.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { UsageError } from "./errors.ts";

/** What stands for stdout wherever a file to write can be named. */
export const STDOUT = "-";

/** Output that did not arrive where it should. The message is one line. */
export class OutputError extends Error {
  /** Nobody reads any more: nobody needs to be told. */
  readonly isClosedPipe: boolean;
  /** The errno in words. */
  readonly reason: string;

  constructor(where: string, code: string) {
    super(`${where}: cannot be written (${describe(code)}): output is lost`);
    this.name = "OutputError";
    this.reason = describe(code);
    this.isClosedPipe = code === "EPIPE";
  }
}

/** Characters of one message; who wants to know more looks at the input itself. */
const MESSAGE_MAX = 2000;
/** How long somebody who reads a FIFO may take to come, and to read on. Milliseconds. */
const NO_READER_MS = 5_000;
const IDLE_READER_MS = 60_000;
const POLL_MS = 5;

/** Writes text to stdout, all of it. @throws OutputError */
export function print(text: string): void {
  writeAll(1, Buffer.from(text), "stdout");
}

export function printLine(line = ""): void {
  print(`${line}\n`);
}

/** The line for a message: one prefix for all of them, and nothing in it that a terminal would obey. */
export function messageLine(message: string): string {
  return `uvfio: ${printable(message, MESSAGE_MAX)}\n`;
}

/** Says something on stderr. Where nobody can hear it, it is not heard. */
export function complain(message: string): void {
  complainRaw(messageLine(message));
}

/** Text for stderr that is made up already. */
export function complainRaw(text: string): void {
  try {
    writeAll(2, Buffer.from(text), "stderr");
  } catch {
    // there is no other place to say it
  }
}

/** Where output went, for messages. */
export function outputName(path: string): string {
  return path === STDOUT ? "stdout" : path;
}

/** Writes all of it, also to a pipe whose reader is slow. @throws OutputError */
export function writeAll(fd: number, bytes: Uint8Array, where: string): void {
  let waited = 0;
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
      waited = 0;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      if (code !== "EAGAIN" || waited >= IDLE_READER_MS) throw new OutputError(where, code);
      sleep(POLL_MS);
      waited += POLL_MS;
    }
  }
}

/** A file to write, made empty, or stdout for "-". */
export interface OutputFile {
  readonly fd: number;
  /** For messages. */
  readonly name: string;
  close(): void;
}

/**
 * Opens a file to write. A FIFO that nobody reads is given up.
 * @param option what the file was given with, for the message
 * @throws UsageError
 */
export function openOutput(path: string, option: string): OutputFile {
  if (path === STDOUT) return { fd: 1, name: STDOUT, close() {} };
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = constants;
  for (let waited = 0; ; waited += POLL_MS) {
    try {
      const fd = openSync(bytesOfText(path), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o666);
      return { fd, name: path, close: () => closeSync(fd) };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // a FIFO without a reader, or a socket
      if (code !== "ENXIO" || waited >= NO_READER_MS || !isFifo(path))
        throw new UsageError(`${option} ${path}: cannot be written (${describe(code ?? String(error))})`);
      sleep(POLL_MS);
    }
  }
}

function isFifo(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: "the folder is not there",
  ENOTDIR: "a part of the path is no folder",
  ENOSPC: "no space left",
  EDQUOT: "quota exceeded",
  EFBIG: "larger than a file may be here",
  EIO: "input/output error",
  EISDIR: "it is a directory",
  ENXIO: "a socket, or a FIFO that nobody reads",
  EPIPE: "nobody reads it",
  EACCES: "no permission",
  EROFS: "read-only file system",
  EMFILE: "the limit of open files, ulimit -n, is too low",
  EAGAIN: "nobody reads on",
};

function describe(code: string): string {
  return WORDS[code] ? `${code}: ${WORDS[code]}` : code;
}
