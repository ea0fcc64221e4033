import type { FinishedCall } from "../interpose/observer.ts";
import { errnoName } from "../uapi/errno.ts";

/** One line about a call that failed: who, what, which errno, and why. */
function failureLine(call: FinishedCall): string {
  const why = call.error ? `: ${call.error.reason}` : "";
  return `${call.program}[${call.pid}]: ${callName(call)} = ${errnoName(-call.result)}${why}`;
}

function callName({ call, dialect, request, path, fd }: FinishedCall): string {
  if (call === "ioctl" && dialect !== undefined) return dialect.nameOf(request);
  return path === undefined ? `${call}(${fd})` : `${call} ${path}`;
}

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

  failed(call: FinishedCall): void {
    const line = this.#json ? failureJson(call) : failureLine(call);
    const kind = `${call.pid} ${callName(call)} ${call.result}`;
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

function failureJson(call: FinishedCall): string {
  const { program, pid, tid, fd } = call;
  const reason = call.error?.reason;
  return JSON.stringify({ program, pid, tid, call: callName(call), fd, errno: errnoName(-call.result), reason });
}
