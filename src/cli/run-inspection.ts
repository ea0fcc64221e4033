import type { Operation } from "../inspect/replay/operation.ts";
import { cut } from "../inspect/replay/shown.ts";
import type { TimeLimit } from "../interpose/index.ts";
import { hex } from "../kernel/errors.ts";
import { checkFaults } from "../library/run/faults.ts";
import { type Inspection, noCounts } from "../library/run/inspection.ts";
import type { RunListener } from "../library/run/serve.ts";
import { STDIN } from "../machine/input-file.ts";
import { UsageError } from "./errors.ts";
import { faultEach } from "./fault-each.ts";
import { openOutput } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import type { HostOrder } from "./run-host.ts";
import { openRunView } from "./run-view.ts";
import { straceOf } from "./strace.ts";
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
  const wantsView = options.view === true || options.viewPort !== undefined;
  if (options.faultEach !== undefined) {
    if (options.strace) throw new UsageError("--fault-each runs the program many times: leave out --strace");
    if (wantsView) throw new UsageError("--fault-each runs the program many times: leave out --view");
    if (options.trace !== undefined)
      throw new UsageError(
        "--fault-each runs the program many times: leave out --trace, and trace the run of interest with --fault REQUEST#N=ERRNO",
      );
    return faultEach(options, data, faults, sanitize, start);
  }
  if (options.faultTimeout !== undefined) throw new UsageError("--fault-timeout is about --fault-each: give both");
  const counters = noCounts();
  const file = options.trace === undefined ? undefined : openOutput(options.trace, "--trace");
  const traced = file && new TraceFile(file, (line) => data.listener.said(line));
  const strace = straceOf(options);
  const sinks = [traced, strace].filter((sink) => sink !== undefined);
  const trace = sinks.length > 0 && {
    sink: {
      write: (operation: Operation) => {
        for (const sink of sinks) sink.write(operation);
      },
      end: () => traced?.end(),
    },
    head: traceHead(argv, options, description),
  };
  const view = wantsView ? await openRunView(argv, options.viewPort, description) : undefined;
  const looker = view && { looker: view.live };
  const inspection: Inspection = {
    trace: trace || undefined,
    faults,
    sanitize,
    counters,
    ...looker,
    ...recorded(data.listener),
  };
  try {
    const status = await start({ ...data, inspection });
    await view?.ended(status);
    return options.sanitizeError && counters.findings > 0 ? 1 : status;
  } finally {
    await view?.close();
    file?.close();
    strace?.close();
  }
}

/** What has parts, for messages as JSON. */
function recorded(listener: RunListener): Pick<Inspection, "found" | "faulted"> {
  const record = listener.record?.bind(listener);
  if (!record) return {};
  return {
    found: (line, { kind, text }) => record({ message: line, finding: kind, text }),
    faulted: ({ device, write, iova, length, at, reason }) =>
      record({ dma_fault: { device, write, iova: hex(iova), length, at: hex(at), reason } }),
  };
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
