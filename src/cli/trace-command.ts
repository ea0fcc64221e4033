import { existsSync } from "node:fs";
import type { Operation } from "../inspect/replay/operation.ts";
import { missingEnd, readOperations } from "../inspect/replay/recording.ts";
import { COLOURED, PLAIN, type TraceFilter, TracePrinter } from "../inspect/trace/print.ts";
import { summarize, summaryLines } from "../inspect/trace/summary.ts";
import { EXIT_USAGE, UsageError } from "./errors.ts";

export interface TraceOptions {
  readonly fd?: readonly string[];
  readonly request?: readonly string[];
  readonly failed?: boolean;
  readonly memory?: boolean;
  readonly summary?: boolean;
  readonly json?: boolean;
}

/** `uvfio trace`: a trace or recording as text. Exit status 2 when it is none, or its end is missing. */
export async function traceCommand(file: string, options: TraceOptions): Promise<number> {
  if (!existsSync(file)) throw new UsageError(`${file}: no such file; uvfio run --trace ${file} -- PROGRAM makes one`);
  const operations = readOperations(file);
  process.stdout.on("error", () => process.exit(0));
  const filter: TraceFilter = {
    ...(options.fd && { fds: options.fd }),
    ...(options.request && { requests: options.request }),
    ...(options.failed && { failed: true }),
    ...(options.memory && { memory: true }),
  };
  const printer = new TracePrinter(useColours() && !options.json ? COLOURED : PLAIN, operations);
  const shown: { operation: Operation; line: string }[] = [];
  for (const operation of operations) {
    const line = printer.line(operation, filter);
    if (line !== undefined) shown.push({ operation, line });
  }
  process.stdout.write(output(shown, options));
  return checkEnd(operations, file);
}

function output(shown: readonly { operation: Operation; line: string }[], { summary, json }: TraceOptions): string {
  if (summary) {
    const rows = summarize(shown.map(({ operation }) => operation));
    return json ? `${JSON.stringify(rows, null, 2)}\n` : `${summaryLines(rows).join("\n")}\n`;
  }
  const lines = shown.map(({ operation, line }) => (json ? JSON.stringify({ ...operation, line }) : line));
  return lines.map((line) => `${line}\n`).join("");
}

function checkEnd(operations: readonly Operation[], file: string): number {
  const missing = missingEnd(operations, file);
  if (missing === undefined) return 0;
  process.stderr.write(`uvfio: ${missing}\n`);
  return EXIT_USAGE;
}

function useColours(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
