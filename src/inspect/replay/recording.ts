import { closeSync, type Dirent, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputFileError, inputName, readInput, STDIN } from "../../machine/input-file.ts";

/** A place in a caller's structure that holds an address or a descriptor, whose number differs from run to run. */
export interface Relocation {
  readonly off: number;
  readonly w: number;
  readonly buf?: string;
  readonly add?: number;
  readonly fd?: string;
}

/** One recorded operation: the fields of oracle/README.md that its `op` has. */
export interface Operation {
  readonly op: string;
  readonly ret?: number;
  readonly errno?: string | null;
  readonly fd?: string | -1;
  readonly of?: string;
  readonly path?: string;
  readonly flags?: string | number;
  readonly req?: string;
  readonly nr?: string;
  readonly arg?: "none" | "null" | "int" | "buf" | "bytes";
  readonly val?: string;
  readonly buf?: string;
  readonly len?: number;
  readonly in?: string;
  readonly out?: string;
  readonly over?: string;
  readonly relocs?: readonly Relocation[];
  readonly edge?: boolean;
  readonly readonly?: boolean;
  readonly ret_is_fd?: string;
  /** The descriptor that `ret_is_fd` names came back in the structure, at this offset. */
  readonly out_fd?: number;
  readonly size?: number | string;
  readonly prot?: string;
  readonly kind?: string;
  readonly share?: string;
  readonly fill?: number;
  readonly addr?: string;
  readonly huge_page_shift?: number;
  readonly offset?: string | number;
  readonly off?: number | string;
  readonly byte?: number | string;
  readonly data?: string;
  readonly value?: number | string;
  readonly mask?: string;
  readonly want?: string | number;
  readonly ok?: boolean;
  readonly count?: number;
  readonly done?: number;
  readonly iova?: string;
  readonly stride?: number | string;
  readonly vaddr?: string;
  readonly which?: string;
  readonly uid?: number;
  readonly cap?: number;
  readonly text?: string | null;
  readonly VmLck_kB?: number;
  readonly VmPin_kB?: number;
  readonly vmlck_kB?: number;
  readonly kB?: number;
  readonly have?: number;
  readonly lines?: readonly string[];
  /** The fields that follow are those of traces (docs/trace.md): for people and filters, not for the replay. */
  readonly us?: number;
  readonly pid?: number;
  readonly tid?: number;
  readonly num?: number;
  readonly num_ret?: number;
  readonly reason?: string;
  readonly fields?: object;
  readonly changed?: object;
  /** The failure was ordered (--fault): the model was not asked. */
  readonly injected?: boolean;
  readonly name?: string;
  readonly machine?: string;
  readonly kernel?: string;
  readonly api?: string;
  readonly version?: number;
  readonly argv?: readonly string[];
}

/** A file of recorded calls and the machine it was made on. */
export interface Recording {
  /** As the user gave or would give it; for messages only where there is `text`. */
  readonly path: string;
  /** What is in it, where it could be read only once (stdin, a pipe). */
  readonly text?: string;
  readonly scenario: string;
  /** Path of the machine's host.json, or the host that a trace names; undefined when there is none and the caller names the host. */
  readonly hostPath: string | undefined;
  /** What a trace was made with instead of the host's own. */
  readonly overrides?: { readonly kernel?: string; readonly api?: string };
}

/** A recording that cannot be used: one line with file, line and what to do. */
export class RecordingError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RecordingError";
  }
}

/**
 * The recordings below the given files and folders (a scenario, a machine, a collection of machines), in order of name. A machine's
 * host.json lies beside its scenarios.
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
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw new RecordingError(`${folder}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return inFolder(path, hostGiven);
    return /\.jsonl$/.test(entry.name) ? [recording(path, hostGiven)] : [];
  });
}

function recording(path: string, hostGiven: boolean): Recording {
  const isFile = path !== STDIN && statSync(path).isFile();
  const text = isFile ? undefined : readText(path);
  const traced = hostGiven ? undefined : tracedHost(text ?? headOf(path));
  const hostPath = join(dirname(path), "host.json");
  const hasHost = isFile && existsSync(hostPath);
  if (!traced && !hasHost && !hostGiven)
    throw new RecordingError(
      `${inputName(path)}: no trace that names its host, and no host.json beside it; give the host with -m`,
    );
  return {
    path: inputName(path),
    scenario: basename(path).replace(/\.jsonl$/, ""),
    hostPath: hasHost ? hostPath : undefined,
    ...(text !== undefined && { text }),
    ...traced,
  };
}

/** So much of a file is looked at for the first line of a trace. Bytes. */
const HEAD_MAX = 65536;

function headOf(path: string): string {
  try {
    const head = Buffer.alloc(HEAD_MAX);
    const fd = openSync(path, "r");
    const length = readSync(fd, head, 0, HEAD_MAX, 0);
    closeSync(fd);
    return head.toString("utf8", 0, length);
  } catch (error) {
    throw new RecordingError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
}

/** The host that a trace of `uvfio run` names in its first line; undefined for other recordings. */
function tracedHost(text: string): Pick<Recording, "hostPath" | "overrides"> | undefined {
  try {
    const { op, machine, kernel, api } = JSON.parse(text.slice(0, HEAD_MAX).split("\n")[0]!) as Operation;
    if (op !== "host" || machine === undefined || machine === STDIN) return undefined;
    return { hostPath: machine, overrides: { ...(kernel && { kernel }), ...(api && { api }) } };
  } catch {
    // what is wrong with the line is said when all of it is read
    return undefined;
  }
}

/** Bytes of a recording: node has no longer strings. */
const RECORDING_MAX = 511 << 20;

/** Reads the operations of a recording. Throws RecordingError with the line for what is no recording. */
export function readOperations(path: string, text: string = readText(path)): Operation[] {
  return parseOperations(text, inputName(path));
}

function readText(path: string): string {
  try {
    return readInput(path, RECORDING_MAX);
  } catch (error) {
    if (!(error instanceof InputFileError)) throw error;
    throw new RecordingError(`${inputName(path)}: ${error.message}`);
  }
}

/** Why a recording is not whole, in one line with the place and what to do; undefined when it is. */
export function missingEnd(operations: readonly Operation[], path: string): string | undefined {
  const last = operations.at(-1)?.op;
  if (last === "end" || last === "kernel-crash") return undefined;
  return `${path}:${operations.length}: the end of the trace is missing: it was cut off, or is being written still; trace again to have it all`;
}

/** @param path for messages */
export function parseOperations(text: string, path: string): Operation[] {
  const operations: Operation[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    let operation: unknown;
    try {
      operation = JSON.parse(line);
    } catch {
      throw new RecordingError(`${path}:${index + 1}: not a line of JSON; the file is cut off or no recording`);
    }
    if (typeof operation !== "object" || operation === null || typeof (operation as Operation).op !== "string") {
      throw new RecordingError(`${path}:${index + 1}: no "op" field; this is no recording of calls`);
    }
    refuseIncomplete(operation as Operation, `${path}:${index + 1}`);
    operations.push(operation as Operation);
  }
  return operations;
}

/** The operations that there are, each with the fields that it cannot do without. */
const REQUIRED: Readonly<Record<string, readonly (keyof Operation)[]>> = {
  open: ["path"],
  close: ["fd"],
  dup: ["fd", "of"],
  eventfd: ["fd"],
  memfd: ["fd", "size"],
  ioctl: ["fd", "nr", "arg"],
  mmap: ["buf", "size", "prot", "kind"],
  munmap: ["buf", "size"],
  mprotect: ["buf", "size", "prot"],
  fill: ["buf", "len", "byte"],
  dump: ["buf", "len", "data"],
  r32: ["buf", "value"],
  r64: ["buf", "value"],
  store: ["buf", "off", "in"],
  w8: ["buf", "value"],
  w16: ["buf", "value"],
  w32: ["buf", "value"],
  w64: ["buf", "value"],
  poll64: ["buf", "mask", "want"],
  pread: ["fd", "off", "len"],
  pwrite: ["fd", "off", "in"],
  read: ["fd", "len"],
  write: ["fd", "in"],
  evread: ["fd"],
  maploop: ["fd", "iova", "count", "stride", "size", "flags", "vaddr"],
  unmaploop: ["fd", "iova", "count", "stride", "size"],
  mkfile: ["path", "size", "byte"],
  readfile: ["path"],
  exists: ["path"],
  param: ["path", "value"],
  setrlimit: ["value"],
  setuid: ["uid"],
  dropcap: ["cap"],
  raisecap: ["cap"],
  hugepages: [],
  vmlck: [],
  wait: ["us"],
  host: ["name", "version"],
  "child-begin": [],
  "child-end": [],
  kmsg: [],
  console: [],
  end: [],
  "kernel-crash": [],
};

function refuseIncomplete(operation: Operation, place: string): void {
  const required = REQUIRED[operation.op];
  if (!required) throw new RecordingError(`${place}: unknown operation "${operation.op}"`);
  for (const field of required) {
    if (operation[field] === undefined) throw new RecordingError(`${place}: ${operation.op} has no field "${field}"`);
  }
  const needs = operation.arg === "bytes" ? "in" : operation.arg === "int" ? "val" : undefined;
  if (needs && operation[needs] === undefined)
    throw new RecordingError(`${place}: ${operation.op} has no field "${needs}"`);
}
