import { type Dirent, existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { STDIN } from "../../machine/input-file.ts";
import { RecordedCalls } from "./recorded-calls.ts";
import { RecordingError } from "./recording-error.ts";

/** A file of recorded calls and the machine it was made on. */
export interface Recording {
  /** As the user gave or would give it; for messages. */
  readonly path: string;
  readonly calls: RecordedCalls;
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
  const calls = new RecordedCalls(path);
  try {
    const scenario = basename(path).replace(/\.jsonl$/, "");
    const read = { path: calls.name, scenario, calls };
    const traced = hostGiven ? undefined : tracedHost(calls);
    if (traced) return { ...read, ...traced };
    const hostPath = join(dirname(path), "host.json");
    const hasHost = !calls.isReadOnce && existsSync(hostPath);
    if (!hasHost && !hostGiven) throw new RecordingError(`${read.path}: no host.json beside it; give the host with -m`);
    return { ...read, hostPath: hasHost ? hostPath : undefined };
  } catch (error) {
    calls.close();
    throw error;
  }
}

/** The host that a trace of `uvfio run` names in its first line; undefined for other recordings. */
function tracedHost({ first }: RecordedCalls): Pick<Recording, "hostPath" | "overrides"> | undefined {
  // what is wrong with the line is said when all of it is read
  if (first?.op !== "host") return undefined;
  const { machine, kernel, api } = first;
  if (machine === undefined || machine === STDIN) return undefined;
  return { hostPath: machine, overrides: { ...(kernel && { kernel }), ...(api && { api }) } };
}
