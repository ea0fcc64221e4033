import { Host } from "../host/host.ts";
import type { Observer, Served } from "../interpose/index.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { hasColours } from "./colours.ts";
import { FailureReport } from "./failure-line.ts";
import { complain, complainRaw, messageLine } from "./output.ts";
import type { Inspection } from "./run-inspected.ts";

/** The host of a run, and what it says. */
export interface HostOrder {
  readonly description: HostDescription;
  /** Say nothing of failed calls. */
  readonly quiet: boolean;
  /** Failed calls as lines of JSON. */
  readonly json: boolean;
  readonly inspection: Inspection | undefined;
}

/** Says a line about a failed call: what failed stands out on a terminal. */
function runLine(): (line: string) => void {
  if (!hasColours(2)) return complain;
  return (line) => complainRaw(coloured(messageLine(line)));
}

/** "uvfio: PROGRAM[PID]: CALL = ERRNO: reason": who says it stays in the background, the errno is red, the reason as it is. */
function coloured(line: string): string {
  return line.replace(
    /^(uvfio: )(\S+\[\d+\]: )?(.*? = )?([A-Z][A-Z0-9]+)?/,
    (_, own, who = "", call = "", errno = "") => {
      const failure = call === "" ? errno : `${call}\x1b[31m${errno}\x1b[39m`;
      return `\x1b[2m${own}\x1b[22m${who}${failure}`;
    },
  );
}

/** Builds the host that a program runs against. */
export async function buildHost({ description, quiet, json, inspection }: HostOrder): Promise<Served> {
  // straight to the descriptor: the program waits while a line is written
  const report = new FailureReport(json ? (line) => complainRaw(`${line}\n`) : runLine(), json);
  const say = (line: string) => {
    report.flush();
    if (json) complainRaw(`${JSON.stringify({ message: line })}\n`);
    else complain(line);
  };
  const warn = quiet ? () => {} : say;
  const observer: Observer = {
    ...(!quiet && { failed: (call) => report.failed(call) }),
    noticed: warn,
    broken: (message) => say(message),
  };
  const ended = () => report.flush();
  if (inspection) {
    const { inspectedHost } = await import("./run-inspected.ts");
    return inspectedHost(description, inspection, { say, warn }, observer, ended);
  }
  return { kernel: new Host(description, { onWarning: warn }), observer, ended };
}
