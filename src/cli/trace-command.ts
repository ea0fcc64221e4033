import { perfettoLines } from "../inspect/trace/perfetto.ts";
import { summaryLines } from "../inspect/trace/summary.ts";
import { readTrace, type Trace, type TraceOptions as Wanted } from "../library/trace/read-trace.ts";
import { inputName } from "../machine/input-file.ts";
import type { HostOverrides } from "../machine/load-host.ts";
import { hasColours } from "./colours.ts";
import { EXIT_USAGE, UsageError } from "./errors.ts";
import { complain, openOutput, outputName, print, writeAll } from "./output.ts";

export interface TraceOptions extends Omit<Wanted, "coloured">, HostOverrides {
  readonly perfetto?: string;
  readonly machine?: string;
  readonly summary?: boolean;
  readonly json?: boolean;
}

/** `uvfio trace`: a trace or recording as text. Exit status 2 when the file is not a trace, or its end is missing. */
export async function traceCommand(file: string, options: TraceOptions): Promise<number> {
  const { summary = false, json = false, perfetto, machine, kernel, api, ...wanted } = options;
  const host = { ...(machine && { machine }), ...(kernel && { kernel }), ...(api && { api }) };
  if (perfetto !== undefined) return writePerfetto(file, perfetto, { ...wanted, summary, json }, host);
  const [given] = Object.keys(host);
  if (given !== undefined)
    throw new UsageError(
      `${given === "machine" ? "-m" : `--${given}`} is about --perfetto, which makes the calls again; leave it out`,
    );
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

/** All of a trace, with what its calls do to a host. */
async function writePerfetto(
  file: string,
  to: string,
  others: Readonly<Record<string, unknown>>,
  host: HostOverrides & { readonly machine?: string },
): Promise<number> {
  const [other] = Object.entries(others).flatMap(([name, value]) => (value ? [name] : []));
  if (other !== undefined) throw new UsageError(`--perfetto has all of the trace; leave out --${other}`);
  const { tracePicture } = await import("../library/view/trace-view.ts");
  const picture = await tracePicture(file, host);
  const output = openOutput(to, "--perfetto");
  try {
    let text = "";
    const write = () => {
      writeAll(output.fd, Buffer.from(text), outputName(to));
      text = "";
    };
    for (const line of perfettoLines(picture.events, picture.host.name)) {
      text += line;
      if (text.length > WRITE_CHARACTERS) write();
    }
    write();
  } finally {
    output.close();
  }
  if (picture.cut === undefined) return 0;
  complain(picture.cut);
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
