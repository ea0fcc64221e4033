import { monotonic } from "../kernel/monotonic.ts";
import type { Doorbells } from "./doorbells/doorbells.ts";
import type { InjectedFiles } from "./injected-files.ts";

/**
 * Intervals in microseconds between looks at registers that programs write to without being stopped: just after a
 * write, while a device works, for a while afterwards, and when nothing happens.
 */
const HOT_US = 25;
const BUSY_US = 50;
const WARM_US = 100;
const IDLE_US = 4000;
/** How long after the last write, in milliseconds, it counts as just now, a device as working, and as warm. */
const HOT_MS = 1;
const BUSY_MS = 20;
const WARM_MS = 1000;
/**
 * How long after a write the next one is waited for without sleeping, in milliseconds: a program that drives a device
 * answers within that, when it has a processor of its own. Who never slept would lose the processor to others for
 * longer.
 */
const AWAKE_MS = 0.06;
/** For how many writes that is done after it has paid, and after how many others it is tried again. */
const TRUSTED = 8;
const TRY = 32;
/** How long after the last write programs may go on writing without being stopped, in milliseconds. */
const OPEN_MS = 1;
/** Between looks where a child that writes is announced to nobody, in microseconds. */
const CHILDREN_US = 20_000;

/**
 * When to look at registers that programs write to without a call. Where writes are announced (doorbells.ts) that is at
 * once, and from then on for as long as more come: an idle device costs nothing. Where they are not, a write is seen
 * within 200 microseconds while the device works, and within a few milliseconds when nothing was written for a second.
 */
export class MappingWatch {
  readonly #files: InjectedFiles;
  readonly #doorbells: Doorbells;
  #lastWrite = Number.NEGATIVE_INFINITY;
  #writes = 0;
  /** For how many writes to stay awake. */
  #trust = TRUSTED;
  #hasSlept = false;

  constructor(files: InjectedFiles, doorbells: Doorbells) {
    this.#files = files;
    this.#doorbells = doorbells;
  }

  look(): void {
    if (this.#files.mapped.size === 0) return;
    this.#doorbells.step();
    if (this.#files.pollMappings((file) => this.#doorbells.awaits(file))) this.#noteWrite();
    if (this.#doorbells.isOpen && monotonic() - this.#lastWrite > OPEN_MS) this.#doorbells.closePages();
  }

  /** Writes are announced by a descriptor. */
  hear(fd: number): void {
    if (this.#doorbells.hear(fd)) this.#noteWrite();
  }

  /** Microseconds to the next look; -1 when there is none to take before something is announced. */
  interval(): number {
    if (this.#files.mapped.size === 0) return -1;
    const intervals = [this.#doorbells.interval, this.#sinceWrite()].filter((each) => each >= 0);
    if (intervals.length > 0) return Math.min(...intervals);
    return this.#doorbells.missesForks ? CHILDREN_US : -1;
  }

  #noteWrite(): void {
    this.#lastWrite = monotonic();
    this.#writes++;
    this.#trust = this.#hasSlept ? Math.max(0, this.#trust - 1) : TRUSTED;
    this.#hasSlept = false;
  }

  #sinceWrite(): number {
    const { isOpen, mustPoll } = this.#doorbells;
    if (!isOpen && !mustPoll) return -1;
    const quiet = monotonic() - this.#lastWrite;
    if (quiet < AWAKE_MS && (this.#trust > 0 || this.#writes % TRY === 0)) return 0;
    this.#hasSlept = true;
    if (quiet < HOT_MS) return HOT_US;
    if (quiet < BUSY_MS) return BUSY_US;
    return quiet < WARM_MS ? WARM_US : IDLE_US;
  }
}
