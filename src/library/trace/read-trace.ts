import { existsSync } from "node:fs";
import type { Operation } from "../../inspect/replay/operation.ts";
import { isLittleEndianRecording, missingEnd, readOperations } from "../../inspect/replay/recording.ts";
import { COLOURED, PLAIN, type TraceFilter, TracePrinter } from "../../inspect/trace/print.ts";
import { type SummaryRow, summarize } from "../../inspect/trace/summary.ts";
import { isPrintable, printable } from "../../kernel/printable.ts";
import { inputName, STDIN } from "../../machine/input-file.ts";
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

/**
 * Reads a trace that `uvfio run --trace` made, or a recording.
 * @throws UsageError for a file that is not there and a filter that nothing can match: messages name options as the
 * command has them; RecordingError for what is no trace
 */
export function readTrace(file: string, options: TraceOptions = {}): Trace {
  if (file !== STDIN && !existsSync(file))
    throw new UsageError(`${file}: no such file; uvfio run --trace ${file} -- PROGRAM makes one`);
  const operations = readOperations(file);
  return decodeTrace(operations, inputName(file), isLittleEndianRecording(file, operations), options);
}

/**
 * The same of operations that are in memory.
 * @param name what they are called in messages
 */
export function decodeTrace(
  operations: readonly Operation[],
  name: string,
  littleEndian: boolean,
  options: TraceOptions,
): Trace {
  refuseStrangers(operations, options, name);
  const { fd, request, failed = false, memory = false, coloured = false } = options;
  const filter: TraceFilter = { ...(fd && { fds: fd }), ...(request && { requests: request }), failed, memory };
  const printer = new TracePrinter(coloured ? COLOURED : PLAIN, operations, littleEndian);
  const calls: TracedCall[] = [];
  for (const each of operations) {
    const operation = harmless(each);
    const line = printer.line(operation, filter);
    if (line !== undefined) calls.push({ operation: each, line });
  }
  return {
    calls,
    get summary() {
      return summarize(calls.map(({ operation }) => harmless(operation)));
    },
    missingEnd: missingEnd(operations, name),
  };
}

/** An operation whose texts can be shown: what a program named may hold anything. */
function harmless(operation: Operation): Operation {
  const clean = (value: unknown): unknown => {
    if (typeof value === "string") return isPrintable(value) ? value : printable(value);
    if (Array.isArray(value)) return value.map(clean);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [clean(key), clean(each)]));
  };
  return clean(operation) as Operation;
}
