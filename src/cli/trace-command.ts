import { LIVE_LIMITS } from "../inspect/picture/state.ts";
import { PerfettoFile } from "../inspect/trace/perfetto.ts";
import { summarize, summaryLines } from "../inspect/trace/summary.ts";
import { type OpenTrace, openTrace, type TraceOptions as Wanted } from "../library/trace/read-trace.ts";
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
  const trace = openTrace(file, { ...wanted, coloured: hasColours(1) && !json });
  try {
    const isFiltered = wanted.fd !== undefined || wanted.request !== undefined || wanted.failed === true;
    const count = summary ? printSummary(trace, json) : printCalls(trace, json);
    if (count === 0 && isFiltered) complain(`${trace.name}: no call in it matches the filter`);
    if (trace.missingEnd === undefined) return 0;
    complain(trace.missingEnd);
    return EXIT_USAGE;
  } finally {
    trace.close();
  }
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
  const { openPlayedTrace } = await import("../library/view/trace-view.ts");
  const trace = await openPlayedTrace(file, host);
  try {
    const output = openOutput(to, "--perfetto");
    try {
      const pieces = new Pieces((text) => writeAll(output.fd, Buffer.from(text), outputName(to)));
      const perfetto = new PerfettoFile(trace.host.name, (text) => pieces.add(text));
      trace.play((event) => perfetto.add(event), LIVE_LIMITS);
      perfetto.end();
      pieces.end();
    } finally {
      output.close();
    }
    if (trace.missingEnd === undefined) return 0;
    complain(trace.missingEnd);
    return EXIT_USAGE;
  } finally {
    trace.close();
  }
}

/** So many characters are put together for one write. */
const WRITE_CHARACTERS = 1 << 20;

/** Text that is written in large pieces. */
class Pieces {
  readonly #write: (text: string) => void;
  #text = "";

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  add(text: string): void {
    this.#text += text;
    if (this.#text.length > WRITE_CHARACTERS) this.end();
  }

  /** Writes what is held back. */
  end(): void {
    this.#write(this.#text);
    this.#text = "";
  }
}

/** @returns how many there were */
function printCalls(trace: OpenTrace, json: boolean): number {
  const pieces = new Pieces(print);
  let count = 0;
  for (const { operation, line } of trace.calls()) {
    pieces.add(`${json ? JSON.stringify({ ...operation, line }) : line}\n`);
    count++;
  }
  pieces.end();
  return count;
}

/** @returns how many calls it is of */
function printSummary(trace: OpenTrace, json: boolean): number {
  let count = 0;
  function* counted() {
    for (const operation of trace.operations()) {
      count++;
      yield operation;
    }
  }
  const rows = summarize(counted());
  print(json ? `${JSON.stringify(rows, null, 2)}\n` : `${summaryLines(rows).join("\n")}\n`);
  return count;
}
