import { readdirSync, readFileSync } from "node:fs";
import { signalAll } from "../interpose/index.ts";
import { sleep } from "../machine/input-file.ts";

/** How long processes that are asked to end may take, and how often they are looked for. Milliseconds. */
const PATIENCE_MS = 2_000;
const POLL_MS = 20;

/**
 * Processes that carry a variable in their environment: it is inherited, so a whole tree has it, also those whose
 * parents have ended.
 */
export class MarkedProcesses {
  readonly #entry: Buffer;

  /** @param value one that no other process has */
  constructor(name: string, value: string) {
    this.#entry = Buffer.from(`${name}=${value}\0`);
  }

  /** Asks all of them to end, and kills those that do not. Returns when they are gone. */
  end(): void {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      for (let waited = 0; waited < PATIENCE_MS; waited += POLL_MS) {
        const pids = this.#pids();
        if (pids.length === 0) return;
        // once to ask; while they are killed new ones may come
        if (waited === 0 || signal === "SIGKILL") signalAll(pids, signal);
        sleep(POLL_MS);
      }
    }
  }

  #pids(): readonly number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) => this.#isMarked(pid))
      .map(Number);
  }

  #isMarked(pid: string): boolean {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`);
      const at = environment.indexOf(this.#entry);
      return at === 0 || (at > 0 && environment[at - 1] === 0);
    } catch {
      // it has ended, or is not ours
      return false;
    }
  }
}
