import { monotonic } from "../../kernel/monotonic.ts";
import type { InjectedFile } from "../injected-file.ts";
import { readProc } from "../proc-file.ts";
import type { WatchedPage } from "./watched-memory.ts";

/**
 * A thread of which nothing can be learnt has written what it was let go on to write after so many milliseconds.
 */
const BLIND_MS = 20;
/** How long after it was put on a processor a thread has come to its write, or has been announced again. */
const ARRIVED_MS = 1;

/** A write that was let go on, and of which nothing is to be seen. */
interface UnlandedWrite {
  readonly page: WatchedPage;
  /** Offset into the file. */
  readonly offset: number;
  readonly tid: number;
  /** What the scheduler had done with the thread when the page was closed again; undefined when that is not known. */
  ran: string | undefined;
  readonly since: number;
  /** When it was first seen to have run; undefined as long as it has not. */
  running: number | undefined;
}

/**
 * Writes that have shown no new value by the time that their page was closed again. Either the thread has not come to
 * it, then it will be stopped once more; or it has written the value that was there. That is certain when it has run
 * since.
 */
export class UnlandedWrites {
  readonly #writes: UnlandedWrite[] = [];

  get any(): boolean {
    return this.#writes.length > 0;
  }

  /** Whether there are some to a file. */
  has(file: InjectedFile): boolean {
    return this.#writes.some(({ page }) => page.file === file);
  }

  /** The page of a write was closed. */
  add(page: WatchedPage, offset: number, tid: number): void {
    this.#writes.push({ page, offset, tid, ran: schedule(tid), since: monotonic(), running: undefined });
  }

  /**
   * A thread is stopped at a write, perhaps at the same one: that it was not carried out is nothing to wonder about.
   * @returns whether the page was closed before the thread came to it, as it seems
   */
  again(tid: number): boolean {
    const index = this.#writes.findIndex((write) => write.tid === tid);
    if (index >= 0) this.#writes.splice(index, 1);
    return index >= 0;
  }

  /** Takes out the writes that have landed for certain. To be called when all announcements have been heard. */
  *landed(): Generator<{ readonly page: WatchedPage; readonly offset: number }> {
    const now = monotonic();
    for (const write of [...this.#writes]) {
      const { tid, ran, since } = write;
      const run = schedule(tid);
      if (ran !== undefined && run !== undefined && run !== ran) {
        write.running ??= now;
        if (isStopped(tid)) {
          write.ran = run;
          write.running = undefined;
        }
      }
      const isGone = ran !== undefined && run === undefined;
      const isCertain =
        ran === undefined ? now - since > BLIND_MS : write.running !== undefined && now - write.running > ARRIVED_MS;
      if (!isGone && !isCertain) continue;
      this.#writes.splice(this.#writes.indexOf(write), 1);
      if (!isGone) yield write;
    }
  }
}

/**
 * How long a thread has run, and how often it was put on a processor (/proc/PID/schedstat); undefined when that is not
 * known, or it is gone.
 */
function schedule(tid: number): string | undefined {
  const text = tid === 0 ? undefined : readProc(tid, "schedstat");
  if (text === undefined) return undefined;
  const [ran, , turns] = text.trim().split(" ");
  return `${ran} ${turns}`;
}

/** Whether a thread was stopped by a signal, perhaps right before its write. */
function isStopped(tid: number): boolean {
  return /^State:\s+[Tt]/m.test(readProc(tid, "status") ?? "");
}
