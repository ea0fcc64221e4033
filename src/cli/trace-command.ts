import { existsSync } from "node:fs";
import type { Operation } from "../inspect/replay/operation.ts";
import { isLittleEndianRecording, missingEnd, readOperations } from "../inspect/replay/recording.ts";
import { COLOURED, PLAIN, type TraceFilter, TracePrinter } from "../inspect/trace/print.ts";
import { summarize, summaryLines } from "../inspect/trace/summary.ts";
import { isPrintable, printable } from "../kernel/printable.ts";
import { inputName, STDIN } from "../machine/input-file.ts";
import { hasColours } from "./colours.ts";
import { EXIT_USAGE, UsageError } from "./errors.ts";
import { complain, print } from "./output.ts";
import { refuseStrangers } from "./trace-filters.ts";

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
  if (file !== STDIN && !existsSync(file))
    throw new UsageError(`${file}: no such file; uvfio run --trace ${file} -- PROGRAM makes one`);
  const operations = readOperations(file);
  refuseStrangers(operations, options, inputName(file));
  const filter: TraceFilter = {
    ...(options.fd && { fds: options.fd }),
    ...(options.request && { requests: options.request }),
    ...(options.failed && { failed: true }),
    ...(options.memory && { memory: true }),
  };
  const printer = new TracePrinter(
    hasColours(1) && !options.json ? COLOURED : PLAIN,
    operations,
    isLittleEndianRecording(file, operations),
  );
  const shown: { operation: Operation; line: string }[] = [];
  for (const operation of operations) {
    const line = printer.line(harmless(operation), filter);
    if (line !== undefined) shown.push({ operation, line });
  }
  if (shown.length === 0 && isFiltered(options)) complain(`${inputName(file)}: no call in it matches the filter`);
  writeShown(shown, options);
  return checkEnd(operations, inputName(file));
}

function isFiltered({ fd, request, failed }: TraceOptions): boolean {
  return fd !== undefined || request !== undefined || failed === true;
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

/** So many characters are put together for one write. */
const WRITE_CHARACTERS = 1 << 20;

function writeShown(shown: readonly { operation: Operation; line: string }[], options: TraceOptions): void {
  if (options.summary) {
    const rows = summarize(shown.map(({ operation }) => harmless(operation)));
    print(options.json ? `${JSON.stringify(rows, null, 2)}\n` : `${summaryLines(rows).join("\n")}\n`);
    return;
  }
  let text = "";
  for (const { operation, line } of shown) {
    text += `${options.json ? JSON.stringify({ ...operation, line }) : line}\n`;
    if (text.length < WRITE_CHARACTERS) continue;
    print(text);
    text = "";
  }
  print(text);
}

function checkEnd(operations: readonly Operation[], name: string): number {
  const missing = missingEnd(operations, name);
  if (missing === undefined) return 0;
  complain(missing);
  return EXIT_USAGE;
}
