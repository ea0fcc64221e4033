import type { CallFailure } from "../library/run/call-failure.ts";
import type { Inspection } from "../library/run/inspection.ts";
import type { RunListener } from "../library/run/serve.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { hasColours } from "./colours.ts";
import { FailureReport } from "./failure-line.ts";
import { complain, complainRaw, messageLine } from "./output.ts";

/** The host of a run, and what it says. */
export interface HostOrder {
  readonly description: HostDescription;
  readonly listener: RunListener;
  readonly inspection: Inspection | undefined;
}

/** Says a line about a failed call: what failed stands out on a terminal. */
function runLine(): (line: string) => void {
  // asked when there is something to say
  let isColoured: boolean | undefined;
  return (line) => {
    isColoured ??= hasColours(2);
    if (isColoured) complainRaw(coloured(messageLine(line)));
    else complain(line);
  };
}

/**
 * "uvfio: PROGRAM[PID]: CALL = ERRNO: reason": who says it stays in the background, the errno is red, the reason as it
 * is.
 */
function coloured(line: string): string {
  return line.replace(
    /^(uvfio: )(\S+\[\d+\]: )?(.*? = )?([A-Z][A-Z0-9]+)?/,
    (_, own, who = "", call = "", errno = "") => {
      const failure = call === "" ? errno : `${call}\x1b[31m${errno}\x1b[39m`;
      return `\x1b[2m${own}\x1b[22m${who}${failure}`;
    },
  );
}

/**
 * Says on stderr what happens in a run.
 * @param quiet nothing of failed calls
 * @param json takes all as lines of JSON
 * @param failures say failed calls
 */
export function spokenRun({
  quiet = false,
  json,
  failures = !quiet,
}: {
  readonly quiet?: boolean;
  readonly json?: ((line: string) => void) | undefined;
  readonly failures?: boolean;
}): RunListener {
  // straight to the descriptor: the program waits while a line is written
  const report = new FailureReport(json ?? runLine(), json !== undefined);
  const said = (line: string) => {
    report.flush();
    if (json) json(JSON.stringify({ message: line }));
    else complain(line);
  };
  return {
    ...(failures && { failed: (failure: CallFailure) => report.failed(failure) }),
    ...(!quiet && { noticed: said }),
    ...(json && {
      record: (record: object) => {
        report.flush();
        json(JSON.stringify(record));
      },
    }),
    said,
    ended: () => report.flush(),
  };
}
