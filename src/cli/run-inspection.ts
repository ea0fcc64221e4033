import type { Operation } from "../inspect/replay/operation.ts";
import { cut } from "../inspect/replay/shown.ts";
import type { TimeLimit } from "../interpose/index.ts";
import { checkFaults } from "../library/run/faults.ts";
import { type Inspection, noCounts } from "../library/run/inspection.ts";
import { STDIN } from "../machine/input-file.ts";
import { UsageError } from "./errors.ts";
import { faultEach } from "./fault-each.ts";
import { openOutput } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import type { HostOrder } from "./run-host.ts";
import { TraceFile } from "./trace-file.ts";

/** So much of the program's command line stands in a trace. */
const ARGUMENTS_MAX = 256;
const ARGUMENT_MAX = 4096;

/** Runs the program once, to its end or the limit. */
export type Start = (data: HostOrder, limit?: TimeLimit) => Promise<number>;

/** `uvfio run` with --trace, --fault, --fault-each or --sanitize. */
export async function runInspected(
  argv: readonly string[],
  options: RunOptions,
  data: HostOrder,
  start: Start,
): Promise<number> {
  const { description } = data;
  const faults = options.fault ?? [];
  checkFaults(faults, description);
  const sanitize = options.sanitize === true || options.sanitizeError === true;
  if (options.faultEach !== undefined) {
    if (options.trace !== undefined)
      throw new UsageError(
        "--fault-each runs the program many times: leave out --trace, and trace the run of interest with --fault REQUEST#N=ERRNO",
      );
    return faultEach(options, data, faults, sanitize, start);
  }
  if (options.faultTimeout !== undefined) throw new UsageError("--fault-timeout is about --fault-each: give both");
  const counters = noCounts();
  const file = options.trace === undefined ? undefined : openOutput(options.trace, "--trace");
  const trace = file && {
    sink: new TraceFile(file, (line) => data.listener.said(line)),
    head: traceHead(argv, options, description),
  };
  const inspection: Inspection = { trace, faults, sanitize, counters };
  try {
    const status = await start({ ...data, inspection });
    return options.sanitizeError && counters.findings > 0 ? 1 : status;
  } finally {
    file?.close();
  }
}

/** The first line of a trace: what was run on which host. */
function traceHead(
  argv: readonly string[],
  { machine = "intel", api }: RunOptions,
  { name, kernel }: HostOrder["description"],
): Operation {
  const shown = argv.slice(0, ARGUMENTS_MAX).map((argument) => cut(argument, ARGUMENT_MAX));
  // nobody can read stdin again: a replay is told the host with -m
  const named = machine === STDIN ? {} : { machine };
  return { op: "host", version: 1, name, ...named, kernel, ...(api && { api }), argv: shown };
}
