import { type CallFailure, failureLine } from "../library/run/call-failure.ts";

/** So many failures of one kind in a row are said one by one when their reasons differ. */
const SAID_EACH = 8;

/** Says which calls failed. Of the same failure again and again it says how often. */
export class FailureReport {
  readonly #say: (line: string) => void;
  readonly #json: boolean;
  #last = "";
  #kind = "";
  /** How many of the kind were said in a row. */
  #said = 0;
  #repeats = 0;
  /** Whether the repeats had reasons of their own. */
  #mixed = false;

  constructor(say: (line: string) => void, json: boolean) {
    this.#say = say;
    this.#json = json;
  }

  failed(failure: CallFailure): void {
    const line = this.#json ? JSON.stringify(failure) : failureLine(failure);
    const kind = `${failure.pid} ${failure.call} ${failure.errno}`;
    const same = kind === this.#kind;
    if (same && (line === this.#last || this.#said >= SAID_EACH)) {
      this.#mixed ||= line !== this.#last;
      this.#repeats++;
      return;
    }
    this.flush();
    this.#said = same ? this.#said + 1 : 1;
    this.#kind = kind;
    this.#last = line;
    this.#say(line);
  }

  /** Says how often the last failure came again: before something else is said, and at the end. */
  flush(): void {
    const count = this.#repeats;
    const mixed = this.#mixed;
    this.#repeats = 0;
    this.#mixed = false;
    if (count === 0) return;
    if (this.#json) this.#say(JSON.stringify({ repeated: count, ...JSON.parse(this.#last) }));
    else
      this.#say(
        mixed ? `... and ${count} more like it` : `... the same ${count} more ${count === 1 ? "time" : "times"}`,
      );
  }
}
