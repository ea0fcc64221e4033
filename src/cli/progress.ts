import { printable } from "../kernel/printable.ts";
import { isTerminal } from "./colours.ts";
import { complainRaw } from "./output.ts";

/** How often the line is written again, in milliseconds. */
const INTERVAL = 100;

/** A line on a terminal's stderr that says how far a long run is; nothing in a pipe, and nothing for short runs. */
export class Progress {
  readonly #total: number | undefined;
  readonly #verb: string;
  #done = 0;
  #shown = false;
  #next = Date.now() + 5 * INTERVAL;

  /** @param total of the steps, where that is known */
  constructor(total: number | undefined, verb: string) {
    this.#total = total;
    this.#verb = verb;
  }

  /** One more is done. */
  step(what: string): void {
    this.#done++;
    const now = Date.now();
    if (now < this.#next) return;
    this.#next = now + INTERVAL;
    this.#show(what);
  }

  /** One that takes long begins: shown at once. */
  start(what: string): void {
    this.#done++;
    this.#show(what);
  }

  #show(what: string): void {
    if (!isTerminal(2)) return;
    this.#shown = true;
    const line = `${this.#verb} ${this.#done}${this.#total === undefined ? "" : ` of ${this.#total}`}: ${printable(what)}`;
    complainRaw(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }

  end(): void {
    if (this.#shown) complainRaw("\r\x1b[K");
  }
}
