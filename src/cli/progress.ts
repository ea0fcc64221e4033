/** How often the line is written again, in milliseconds. */
const INTERVAL = 100;

/** A line on a terminal's stderr that says how far a long run is; nothing in a pipe, and nothing for short runs. */
export class Progress {
  readonly #total: number;
  readonly #verb: string;
  #done = 0;
  #shown = false;
  #next = Date.now() + 5 * INTERVAL;

  constructor(total: number, verb: string) {
    this.#total = total;
    this.#verb = verb;
  }

  step(what: string): void {
    this.#done++;
    const now = Date.now();
    if (!process.stderr.isTTY || now < this.#next) return;
    this.#next = now + INTERVAL;
    this.#shown = true;
    const line = `${this.#verb} ${this.#done} of ${this.#total}: ${what}`;
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }

  end(): void {
    if (this.#shown) process.stderr.write("\r\x1b[K");
  }
}
