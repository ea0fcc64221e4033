import { existsSync } from "node:fs";
import type { Operation } from "../../inspect/replay/operation.ts";
import { RecordedCalls } from "../../inspect/replay/recorded-calls.ts";
import { missingEnd, type RecordingFacts, surveyOf } from "../../inspect/replay/recording-facts.ts";
import { COLOURED, PLAIN, type TraceFilter, TracePrinter } from "../../inspect/trace/print.ts";
import { type SummaryRow, summarize } from "../../inspect/trace/summary.ts";
import { STDIN } from "../../machine/input-file.ts";
import { UsageError } from "../usage-error.ts";
import { refuseStrangers } from "./refuse-strangers.ts";

/** What of a trace is wanted. */
export interface TraceOptions {
  /** Only calls on these descriptors, by number or name ("container1"). */
  readonly fd?: readonly string[];
  /** Only these requests or calls, by name or a part of it ("MAP_DMA", "pread"). */
  readonly request?: readonly string[];
  /** Only calls that failed. */
  readonly failed?: boolean;
  /** Also what the trace says of memory, for the sake of a replay. */
  readonly memory?: boolean;
  /** Lines with the colours of a terminal. */
  readonly coloured?: boolean;
}

/** A call of a trace. */
export interface TracedCall {
  /** What the trace has of it. */
  readonly operation: Operation;
  /** The call as strace would show it. */
  readonly line: string;
}

/** A trace that was read. */
export interface Trace {
  /** What was wanted of it, in order. */
  readonly calls: readonly TracedCall[];
  /** Calls, errors and time of them by request, the most expensive first. */
  readonly summary: readonly SummaryRow[];
  /** Why the trace is not whole, in one line; undefined when it is. */
  readonly missingEnd: string | undefined;
}

/** A trace that is gone through call by call, of which one is in memory. */
export interface OpenTrace {
  /** As messages call it. */
  readonly name: string;
  /** What is wanted of it, in order. */
  calls(): Generator<TracedCall>;
  /** The same without lines, which take longer than all the rest. */
  operations(): Generator<Operation>;
  readonly missingEnd: string | undefined;
  close(): void;
}

/**
 * Opens a trace that `uvfio run --trace` made, or a recording.
 * @throws UsageError for a file that is not there and a filter that nothing can match: messages name options as the
 * command has them; RecordingError for what is no trace, here and while its calls are gone through
 */
export function openTrace(file: string, options: TraceOptions = {}): OpenTrace {
  if (file !== STDIN && !existsSync(file))
    throw new UsageError(`${file}: no such file; uvfio run --trace ${file} -- PROGRAM makes one`);
  const recorded = new RecordedCalls(file);
  try {
    const { facts, name, isLittleEndian } = recorded;
    refuseStrangers(recorded, options, name);
    return {
      name,
      calls: () => callsOf(recorded, facts, isLittleEndian, options),
      operations: () => operationsOf(recorded, options),
      missingEnd: missingEnd(facts, name),
      close: () => recorded.close(),
    };
  } catch (error) {
    recorded.close();
    throw error;
  }
}

/** The same, all of it in memory. */
export function readTrace(file: string, options: TraceOptions = {}): Trace {
  const opened = openTrace(file, options);
  try {
    return wholeTrace([...opened.calls()], opened.missingEnd);
  } finally {
    opened.close();
  }
}

/** The same of operations that are in memory, of a program of this machine. */
export function decodeTrace(operations: readonly Operation[], options: TraceOptions): Trace {
  const name = "the trace";
  refuseStrangers(operations, options, name);
  const facts = surveyOf(operations);
  return wholeTrace([...callsOf(operations, facts, true, options)], missingEnd(facts, name));
}

function wholeTrace(calls: readonly TracedCall[], missing: string | undefined): Trace {
  return {
    calls,
    get summary() {
      return summarize(calls.map(({ operation }) => operation));
    },
    missingEnd: missing,
  };
}

function* callsOf(
  operations: Iterable<Operation>,
  { hasThreads }: RecordingFacts,
  littleEndian: boolean,
  options: TraceOptions,
): Generator<TracedCall> {
  const filter = filterOf(options);
  const printer = new TracePrinter(options.coloured ? COLOURED : PLAIN, { hasThreads, littleEndian });
  for (const operation of operations) {
    const line = printer.line(operation, filter);
    if (line !== undefined) yield { operation, line };
  }
}

function* operationsOf(operations: Iterable<Operation>, options: TraceOptions): Generator<Operation> {
  const filter = filterOf(options);
  const printer = new TracePrinter(PLAIN);
  for (const operation of operations) if (printer.wants(operation, filter)) yield operation;
}

function filterOf({ fd, request, failed = false, memory = false }: TraceOptions): TraceFilter {
  return { ...(fd && { fds: fd }), ...(request && { requests: request }), failed, memory };
}
