import { summaryLines } from "../inspect/trace/summary.ts";
import { readTrace, type Trace, type TraceOptions as Wanted } from "../library/trace/read-trace.ts";
import { inputName } from "../machine/input-file.ts";
import { hasColours } from "./colours.ts";
import { EXIT_USAGE } from "./errors.ts";
import { complain, print } from "./output.ts";

export interface TraceOptions extends Omit<Wanted, "coloured"> {
  readonly summary?: boolean;
  readonly json?: boolean;
}

/** `uvfio trace`: a trace or recording as text. Exit status 2 when the file is not a trace, or its end is missing. */
export async function traceCommand(file: string, options: TraceOptions): Promise<number> {
  const { summary = false, json = false, ...wanted } = options;
  const trace = readTrace(file, { ...wanted, coloured: hasColours(1) && !json });
  const isFiltered = wanted.fd !== undefined || wanted.request !== undefined || wanted.failed === true;
  if (trace.calls.length === 0 && isFiltered) complain(`${inputName(file)}: no call in it matches the filter`);
  if (summary)
    print(json ? `${JSON.stringify(trace.summary, null, 2)}\n` : `${summaryLines(trace.summary).join("\n")}\n`);
  else printCalls(trace, json);
  if (trace.missingEnd === undefined) return 0;
  complain(trace.missingEnd);
  return EXIT_USAGE;
}

/** So many characters are put together for one write. */
const WRITE_CHARACTERS = 1 << 20;

function printCalls({ calls }: Trace, json: boolean): void {
  let text = "";
  for (const { operation, line } of calls) {
    text += `${json ? JSON.stringify({ ...operation, line }) : line}\n`;
    if (text.length < WRITE_CHARACTERS) continue;
    print(text);
    text = "";
  }
  print(text);
}
