import { type Dirent, existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkOperation, type Operation } from "./operation.ts";
import { readLines } from "./read-lines.ts";
import { RecordingError } from "./recording-error.ts";

/** A file of recorded calls and the machine it was made on. */
export interface Recording {
  /** As the user gave or would give it. */
  readonly path: string;
  readonly scenario: string;
  /** Path of the machine's host.json, or the host that a trace names; undefined when there is none and the caller names the host. */
  readonly hostPath: string | undefined;
  /** What a trace was made with instead of the host's own. */
  readonly overrides?: { readonly kernel?: string; readonly api?: string };
}

/**
 * The recordings below the given files and folders (a scenario, a machine, a collection of machines), in order of name. A machine's
 * host.json lies beside its scenarios.
 * @param hostGiven whether the caller has a host of its own, so that none need lie there
 */
export function findRecordings(paths: readonly string[], hostGiven = false): Recording[] {
  return paths.flatMap((path) => {
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
  const hostPath = join(dirname(path), "host.json");
  const scenario = basename(path).replace(/\.jsonl$/, "");
  const traced = hostGiven ? undefined : tracedHost(path);
  if (traced) return { path, scenario, ...traced };
  const hasHost = existsSync(hostPath);
  if (!hasHost && !hostGiven) throw new RecordingError(`${path}: no host.json beside it; give the host with -m`);
  return { path, scenario, hostPath: hasHost ? hostPath : undefined };
}

/** The host that a trace of `uvfio run` names in its first line; undefined for other recordings. */
function tracedHost(path: string): Pick<Recording, "hostPath" | "overrides"> | undefined {
  for (const line of readLines(path)) {
    const operation = parseLine(line);
    // what is wrong with the line is said when all of it is read
    if (typeof operation === "string" || operation.op !== "host" || operation.machine === undefined) return undefined;
    const { machine, kernel, api } = operation;
    return { hostPath: machine, overrides: { ...(kernel && { kernel }), ...(api && { api }) } };
  }
  return undefined;
}

/** Reads the operations of a recording. Throws RecordingError with the line for what is no recording. */
export function readOperations(path: string): Operation[] {
  return operationsOf(readLines(path), path);
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
