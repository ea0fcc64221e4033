import type { Operation } from "../replay/operation.ts";
import { shown } from "../replay/shown.ts";
import { callName, isCall } from "./print.ts";

/** What a trace has of one request. */
export interface SummaryRow {
  /** The request or call. */
  readonly name: string;
  /** How often it was made. */
  readonly calls: number;
  /** How often it failed. */
  readonly errors: number;
  /** Time spent in the model; undefined where the recording has no times. */
  readonly microseconds: number | undefined;
}

/** Calls, errors and time by request, the most expensive first. */
export function summarize(operations: Iterable<Operation>): SummaryRow[] {
  const rows = new Map<string, { calls: number; errors: number; microseconds: number | undefined }>();
  for (const operation of operations) {
    if (!isCall(operation) || /^(w|r)\d+$/.test(operation.op)) continue;
    const name = shown(callName(operation));
    const row = rows.get(name) ?? { calls: 0, errors: 0, microseconds: undefined };
    row.calls++;
    if (operation.errno) row.errors++;
    if (operation.us !== undefined) row.microseconds = (row.microseconds ?? 0) + operation.us;
    rows.set(name, row);
  }
  return [...rows]
    .map(([name, row]) => ({ name, ...row }))
    .sort((a, b) => (b.microseconds ?? 0) - (a.microseconds ?? 0) || b.calls - a.calls || (a.name < b.name ? -1 : 1));
}

/** The rows as lines of a table with a heading and a total. */
export function summaryLines(rows: readonly SummaryRow[]): string[] {
  const total: SummaryRow = {
    name: "total",
    calls: rows.reduce((sum, row) => sum + row.calls, 0),
    errors: rows.reduce((sum, row) => sum + row.errors, 0),
    microseconds: rows.every((row) => row.microseconds === undefined)
      ? undefined
      : rows.reduce((sum, row) => sum + (row.microseconds ?? 0), 0),
  };
  const width = Math.max(7, ...rows.map(({ name }) => name.length));
  const line = (name: string, ...cells: string[]) =>
    `${name.padEnd(width)}${cells.map((cell) => cell.padStart(12)).join("")}`;
  const cells = ({ calls, errors, microseconds }: SummaryRow) => [
    String(calls),
    errors === 0 ? "-" : String(errors),
    microseconds === undefined ? "-" : (microseconds / 1e6).toFixed(6),
    microseconds === undefined || calls === 0 ? "-" : String(Math.round(microseconds / calls)),
  ];
  return [
    line("request", "calls", "errors", "seconds", "us/call"),
    ...rows.map((row) => line(row.name, ...cells(row))),
    line(total.name, ...cells(total)),
  ];
}
