import type { InjectedFiles } from "./injected-files.ts";

/**
 * Intervals in microseconds between looks at mapped registers: just after a write, while a device works, for a while
 * afterwards, and when nothing happens. Even the shortest is slept: who never sleeps loses the processor to others for
 * longer than that.
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
 * When to look at memory that programs write to without a call. A doorbell is seen within 200 microseconds while its
 * device works, and within a few milliseconds when nothing was written for a second: an idle device costs no processor.
 */
export class MappingWatch {
  readonly #files: InjectedFiles;
  #lastWrite = Number.NEGATIVE_INFINITY;

  constructor(files: InjectedFiles) {
    this.#files = files;
  }

  look(): void {
    if (this.#files.hasMappings && this.#files.pollMappings()) this.#lastWrite = performance.now();
  }

  /** The doorbell at an offset of a mapped file was written. */
  ring(inode: number, offset: number): void {
    this.#files.ring(inode, offset);
    this.#lastWrite = performance.now();
  }

  /** Microseconds to the next look; 0 when nothing is mapped. */
  interval(): number {
    if (!this.#files.hasMappings) return 0;
    const quiet = performance.now() - this.#lastWrite;
    if (quiet < HOT_MS) return HOT_US;
    if (quiet < BUSY_MS) return BUSY_US;
    return quiet < WARM_MS ? WARM_US : IDLE_US;
  }
}
