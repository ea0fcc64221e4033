import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MarkedProcesses } from "./marked-processes.ts";

const PREFIX = "uvfio-selftests-";
/** Which process a folder is of. */
const OWNER = "owner";
/** What all processes of a run have in their environment: the path of its folder. */
const MARK = "UVFIO_SELFTESTS";

/**
 * The temporary folder of one `uvfio selftests` and the processes that it started. Both are gone after remove(),
 * whatever the processes do.
 */
export class SelftestsScratch {
  readonly path: string;
  /** Environment of the processes that are started. */
  readonly env: NodeJS.ProcessEnv;
  readonly #processes: MarkedProcesses;

  /** Also removes what runs have left behind that were killed. */
  constructor() {
    removeLeftOver();
    this.path = mkdtempSync(join(tmpdir(), PREFIX));
    writeFileSync(join(this.path, OWNER), ownerLine(process.pid) ?? "");
    this.env = { ...process.env, [MARK]: this.path };
    this.#processes = new MarkedProcesses(MARK, this.path);
  }

  endProcesses(): void {
    this.#processes.end();
  }

  remove(): void {
    this.endProcesses();
    rmSync(this.path, { recursive: true, force: true });
  }
}

function removeLeftOver(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(tmpdir(), name);
    if (!isLeftOver(path)) continue;
    new MarkedProcesses(MARK, path).end();
    rmSync(path, { recursive: true, force: true });
  }
}

/** Ours, and its process is gone. */
function isLeftOver(path: string): boolean {
  try {
    if (statSync(path).uid !== process.getuid!()) return false;
    const owner = readFileSync(join(path, OWNER), "utf8");
    return owner !== "" && owner !== ownerLine(Number(owner.split(" ")[0]));
  } catch {
    // somebody has just made it, or removes it
    return false;
  }
}

/** A process' number with the time of its start, as numbers are given again; undefined when it is gone. */
function ownerLine(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // the name in brackets may hold anything; the start is the 20th field behind it
    return `${pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return undefined;
  }
}
