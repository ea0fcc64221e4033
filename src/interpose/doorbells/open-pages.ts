import { monotonic } from "../../kernel/monotonic.ts";
import type { InjectedFile } from "../injected-file.ts";
import { UnlandedWrites } from "./unlanded-writes.ts";
import type { WatchedMemory, WatchedPage } from "./watched-memory.ts";

/**
 * How long a write that was let go on is waited for without sleeping, in milliseconds: its thread has to get a
 * processor.
 */
const LANDING_MS = 0.08;
/**
 * How long a page that is closed behind each write is left open for one that does not come, in milliseconds: at first,
 * and at most, for threads that do not get a processor in that time.
 */
const EXPECTED_MS = 1;
const EXPECTED_MOST_MS = 128;

interface AnnouncedWrite {
  /** Into the file, bytes. */
  readonly offset: number;
  readonly tid: number;
  /** As expectWrite() says. */
  readonly counts: boolean;
}

interface OpenPage {
  readonly memory: WatchedMemory;
  readonly page: WatchedPage;
  /** Which were announced since it is open. */
  readonly writes: AnnouncedWrite[];
  /** When the last of them was announced, as monotonic() has it. */
  since: number;
}

/**
 * Pages that programs write to without being stopped, from the first write on that was announced. What they write there
 * is looked for.
 */
export class OpenPages {
  readonly #open = new Map<WatchedPage, OpenPage>();
  readonly #unlanded = new UnlandedWrites();
  #patience = EXPECTED_MS;

  get any(): boolean {
    return this.#open.size > 0;
  }

  /** Whether there are writes of which it is not known whether they have landed: settle() finds that out. */
  get hasUnlanded(): boolean {
    return this.#unlanded.any;
  }

  /** A thread is stopped at a write to a page: it goes on. */
  announced(memory: WatchedMemory, page: WatchedPage, address: number, tid: number): void {
    const offset = page.offset + address - page.address;
    if (this.#unlanded.again(tid)) this.#patience = Math.min(2 * this.#patience, EXPECTED_MOST_MS);
    const counts = page.file.description.expectWrite(offset);
    let open = this.#open.get(page);
    if (open === undefined) {
      open = { memory, page, writes: [], since: 0 };
      this.#open.set(page, open);
    }
    open.writes.push({ offset, tid, counts });
    open.since = monotonic();
    memory.open(page);
  }

  /** Whether look() has what is written to a file carried out, when its page is closed. */
  awaits(file: InjectedFile): boolean {
    for (const page of this.#open.keys()) if (page.file === file && page.isExpected) return true;
    return false;
  }

  /** Waits a moment for writes that were let go on. */
  land(pages: ReadonlySet<WatchedPage>): void {
    const end = monotonic() + LANDING_MS;
    do {
      this.look();
      for (const page of pages) if (!page.isExpected) page.file.description.pollMemory();
    } while (![...pages].every((page) => this.#isLanded(page)) && monotonic() < end);
  }

  /**
   * Closes the pages whose registers are expected, when something was written to them: before that is carried out,
   * since the program may write again as soon as it sees the outcome.
   */
  look(): void {
    for (const { page, since } of [...this.#open.values()]) {
      if (!page.isExpected) continue;
      const isWritten = page.file.description.hasNewWrites() || this.#isLanded(page);
      if (isWritten) this.#patience = EXPECTED_MS;
      if (isWritten || monotonic() - since > this.#patience) this.#close(page);
    }
  }

  /** Closes all: nothing was written for a while. */
  close(): void {
    for (const page of [...this.#open.keys()]) this.#close(page);
  }

  /** Has what has certainly landed carried out, although it shows nothing new. When all announcements were heard. */
  settle(): void {
    for (const { page, offset } of this.#unlanded.landed()) {
      const { file } = page;
      if (file.description.isExpected(offset)) file.description.carryOutWrite(offset);
      this.#forgetWrites(file);
    }
  }

  /** A memory is watched no more, or not there. */
  forget(memory: WatchedMemory): void {
    for (const { page, memory: of } of [...this.#open.values()]) {
      if (of !== memory) continue;
      this.#open.delete(page);
      this.#forgetWrites(page.file);
    }
  }

  #isLanded(page: WatchedPage): boolean {
    const { description } = page.file;
    return !(this.#open.get(page)?.writes.some(({ offset }) => description.isExpected(offset)) ?? false);
  }

  #close(page: WatchedPage): void {
    const open = this.#open.get(page);
    if (open === undefined) return;
    this.#open.delete(page);
    open.memory.close(page);
    const { description } = page.file;
    // what was written before it was closed
    description.pollMemory();
    for (const { offset, tid, counts } of open.writes)
      if (counts && description.isExpected(offset)) this.#unlanded.add(page, offset, tid);
    this.#forgetWrites(page.file);
  }

  /** When nothing is on its way to a file any more. */
  #forgetWrites(file: InjectedFile): void {
    for (const page of this.#open.keys()) if (page.file === file) return;
    if (!this.#unlanded.has(file)) file.description.forgetWrites();
  }
}
