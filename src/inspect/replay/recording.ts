import { type Dirent, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputFileError, inputName, readInput, STDIN } from "../../machine/input-file.ts";
import { checkOperation, type Operation } from "./operation.ts";
import { readLines } from "./read-lines.ts";
import { RecordingError } from "./recording-error.ts";

/** A file of recorded calls and the machine it was made on. */
export interface Recording {
  /** As the user gave or would give it; for messages only where there is `text`. */
  readonly path: string;
  /** What is in it, where it can be read only once (stdin, a pipe). */
  readonly text?: string;
  readonly scenario: string;
  /**
   * Path of the machine's host.json, or the host that a trace names; undefined when the recording says neither, and the
   * caller names the host.
   */
  readonly hostPath: string | undefined;
  /** What a trace was made with instead of the host's own. */
  readonly overrides?: { readonly kernel?: string; readonly api?: string };
}

/**
 * The recordings below the given files and folders (a scenario, a machine, a collection of machines), in order of name.
 * A machine's host.json lies beside its scenarios.
 * @param hostGiven whether the caller has a host of its own, so that none need lie there
 */
export function findRecordings(paths: readonly string[], hostGiven = false): Recording[] {
  return paths.flatMap((path) => {
    if (path === STDIN) return [recording(path, hostGiven)];
    if (!existsSync(path)) throw new RecordingError(`${path}: no such file or folder`);
    const found = statSync(path).isDirectory() ? inFolder(path, hostGiven) : [recording(path, hostGiven)];
    if (found.length === 0)
      throw new RecordingError(`${path}: no recording (*.jsonl beside a host.json) in this folder`);
    return found;
  });
}

function inFolder(folder: string, hostGiven: boolean): Recording[] {
  const entries = entriesOf(folder).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return inFolder(path, hostGiven);
    return /\.jsonl$/.test(entry.name) ? [recording(path, hostGiven)] : [];
  });
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw new RecordingError(`${folder}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
}

function recording(path: string, hostGiven: boolean): Recording {
  const scenario = basename(path).replace(/\.jsonl$/, "");
  const text = isReadOnce(path) ? readText(path) : undefined;
  const traced = hostGiven ? undefined : tracedHost(text === undefined ? readLines(path) : text.split("\n", 1));
  const read = { path: inputName(path), scenario, ...(text !== undefined && { text }) };
  if (traced) return { ...read, ...traced };
  const hostPath = join(dirname(path), "host.json");
  const hasHost = text === undefined && existsSync(hostPath);
  if (!hasHost && !hostGiven) throw new RecordingError(`${read.path}: no host.json beside it; give the host with -m`);
  return { ...read, hostPath: hasHost ? hostPath : undefined };
}

function isReadOnce(path: string): boolean {
  return path === STDIN || statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
}

/** Bytes of a recording that comes through a pipe: node has no longer strings. */
const TEXT_MAX = 511 << 20;

function readText(path: string): string {
  try {
    return readInput(path, TEXT_MAX);
  } catch (error) {
    if (!(error instanceof InputFileError)) throw error;
    throw new RecordingError(
      path === STDIN ? `stdin: ${error.message}` : `${path}: this is no regular file, it ${error.message}`,
    );
  }
}

/** The host that a trace of `uvfio run` names in its first line; undefined for other recordings. */
function tracedHost(lines: Iterable<string>): Pick<Recording, "hostPath" | "overrides"> | undefined {
  for (const line of lines) {
    const operation = parseLine(line);
    // what is wrong with the line is said when all of it is read
    if (typeof operation === "string" || operation.op !== "host") return undefined;
    const { machine, kernel, api } = operation;
    if (machine === undefined || machine === STDIN) return undefined;
    return { hostPath: machine, overrides: { ...(kernel && { kernel }), ...(api && { api }) } };
  }
  return undefined;
}

/**
 * The byte order of a recording's structures, as the host.json beside it says; a trace of `uvfio run` is of a program
 * of this machine.
 */
export function isLittleEndianRecording(path: string, operations: readonly Operation[]): boolean {
  if (path === STDIN || operations[0]?.op === "host") return true;
  try {
    return JSON.parse(readFileSync(join(dirname(path), "host.json"), "utf8")).byte_order !== "big";
  } catch {
    return true;
  }
}

/** Reads the operations of a recording. Throws RecordingError with the line for what is no recording. */
export function readOperations(path: string, text = isReadOnce(path) ? readText(path) : undefined): Operation[] {
  return text === undefined ? operationsOf(readLines(path), path) : parseOperations(text, inputName(path));
}

/** @param path for messages */
export function parseOperations(text: string, path: string): Operation[] {
  return text === "" ? [] : operationsOf(text.replace(/\n$/, "").split("\n"), path);
}

function operationsOf(lines: Iterable<string>, path: string): Operation[] {
  const operations: Operation[] = [];
  for (const line of lines) {
    const operation = parseLine(line);
    if (typeof operation === "string") throw new RecordingError(`${path}:${operations.length + 1}: ${operation}`);
    operations.push(operation);
  }
  return operations;
}

/** The operation of a line, or what is wrong with it. */
function parseLine(line: string): Operation | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return "not a line of JSON; the file is cut off or no recording";
  }
  return checkOperation(parsed);
}

/** Why a recording is not whole, in one line with the place and what to do; undefined when it is. */
export function missingEnd(operations: readonly Operation[], path: string): string | undefined {
  const last = operations.at(-1)?.op;
  if (last === "end" || last === "kernel-crash") return undefined;
  return `${path}:${Math.max(operations.length, 1)}: the end of the trace is missing: it was cut off, or is being written still; trace again to have it all`;
}
