import { findRecordings, type Recording } from "../inspect/replay/recording.ts";
import { RecordingError } from "../inspect/replay/recording-error.ts";
import { missingEnd } from "../inspect/replay/recording-facts.ts";
import { type DifferentCall, type ReplayResult, replay } from "../inspect/replay/replay.ts";
import { cut, shown } from "../inspect/replay/shown.ts";
import { counted } from "../kernel/counted.ts";
import { printable } from "../kernel/printable.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { HostDescriptionError } from "../machine/host-description-error.ts";
import { loadHost } from "../machine/load-host.ts";
import { printLine } from "./output.ts";
import { Progress } from "./progress.ts";

export interface ReplayOptions {
  /** Instead of the host.json beside each recording. */
  readonly machine?: string;
  readonly kernel?: string;
  readonly api?: string;
  readonly json?: boolean;
}

/** Of what somebody else says about a host, so many characters are repeated. */
const MESSAGE_MAX = 1024;
/** Bytes of a structure that are shown around the first one that differs. */
const CONTEXT_BYTES = 8;
/** Characters of one line about a difference. */
const LINE_MAX = 2000;

/**
 * `uvfio replay`: repeats recorded calls and compares every answer. Exit status 0 when all are equal or differ for a
 * documented reason.
 */
export async function replayCommand(paths: readonly string[], options: ReplayOptions): Promise<number> {
  const recordings = findRecordings(paths, options.machine !== undefined);
  const hosts = new Map<string, HostDescription>();
  const progress = new Progress(recordings.length, "replaying");
  const results: { recording: Recording; result: ReplayResult }[] = [];
  try {
    for (const recording of recordings) {
      results.push({ recording, result: await replayOne(recording, options, hosts) });
      progress.step(recording.path);
    }
  } finally {
    progress.end();
    for (const { calls } of recordings) calls.close();
  }
  if (options.json) printJson(results);
  else printText(results);
  return results.every(({ result }) => result.different.length === 0) ? 0 : 1;
}

/** @param hosts that were loaded already */
async function replayOne(
  recording: Recording,
  options: ReplayOptions,
  hosts: Map<string, HostDescription>,
): Promise<ReplayResult> {
  const hostName = options.machine ?? recording.hostPath!;
  const overrides = { ...recording.overrides, ...options };
  const key = JSON.stringify([hostName, overrides.kernel, overrides.api]);
  const host = hosts.get(key) ?? (await hostOf(recording, hostName, overrides, options));
  hosts.set(key, host);
  const { calls, overrides: traced, path } = recording;
  const missing = traced && missingEnd(calls.facts, path);
  if (missing !== undefined) throw new RecordingError(missing);
  return replay(host, calls, path);
}

/** The host that a recording is repeated on. What is wrong with one that a trace names is the trace's fault. */
async function hostOf(
  { path, overrides }: Recording,
  name: string,
  options: { readonly kernel?: string; readonly api?: string },
  given: ReplayOptions,
): Promise<HostDescription> {
  try {
    return await loadHost(name, options);
  } catch (error) {
    const isTraces = overrides !== undefined && given.machine === undefined;
    if (!isTraces || !(error instanceof HostDescriptionError)) throw error;
    const what = printable(cut(error.message, MESSAGE_MAX));
    throw new RecordingError(`${path}:1: the host that the trace names: ${what}; give one with -m`);
  }
}

type Results = readonly { readonly recording: Recording; readonly result: ReplayResult }[];

function printText(results: Results): void {
  const names = results.map(({ recording }) => printable(recording.path));
  const width = Math.max(...names.map((name) => name.length));
  const known = new Map<string, number>();
  const total = { calls: 0, equal: 0, different: 0 };
  for (const [index, { result }] of results.entries()) {
    const { calls, equal, different } = result;
    printLine(
      `${names[index]!.padEnd(width)}  ${counted(calls, "call")}, ${equal} equal, ${different.length} different${knownText(result)}`,
    );
    if (different[0]) for (const line of describe(different[0])) printLine(`    ${printable(cut(line, LINE_MAX))}`);
    total.calls += calls;
    total.equal += equal;
    total.different += different.length;
    for (const [reason, count] of result.known) known.set(reason, (known.get(reason) ?? 0) + count);
  }
  printLine(
    `${counted(results.length, "recording")}: ${counted(total.calls, "call")}, ${total.equal} equal, ${total.different} different`,
  );
  for (const [reason, count] of known)
    printLine(`  ${count} more ${count === 1 ? "differs" : "differ"} on purpose: ${reason}`);
}

function knownText({ known }: ReplayResult): string {
  let count = 0;
  for (const each of known.values()) count += each;
  return count === 0 ? "" : `, ${count} ${count === 1 ? "differs" : "differ"} on purpose`;
}

/** The first difference of a recording, both sides and our reason. */
function describe({ line, operation, field, recorded, ours, reason }: DifferentCall): string[] {
  const about = operation.op === "ioctl" ? operation.req : "path" in operation ? operation.path : undefined;
  const what = about === undefined ? operation.op : `${operation.op} ${shown(about)}`;
  const lines = [`line ${line}: ${what}: ${field}`];
  if (/^[0-9a-f]{16,}$/.test(recorded) && recorded.length === ours.length) lines.push(...excerpts(recorded, ours));
  else lines.push(`recorded ${shown(recorded)}`, `ours     ${shown(ours)}`);
  if (reason !== undefined) lines.push(`because  ${printable(cut(reason, MESSAGE_MAX))}`);
  return lines;
}

/** Long structures: what surrounds the first byte that differs. */
function excerpts(recorded: string, ours: string): string[] {
  let at = 0;
  while (recorded.slice(at, at + 2) === ours.slice(at, at + 2)) at += 2;
  const from = Math.max(0, at - 2 * CONTEXT_BYTES);
  const to = at + 4 * CONTEXT_BYTES;
  const cut = (text: string) => `${from > 0 ? "..." : ""}${text.slice(from, to)}${to < text.length ? "..." : ""}`;
  const offset = `0x${(at / 2).toString(16)}`;
  return [`recorded ${cut(recorded)}`, `ours     ${cut(ours)}   (first difference at offset ${offset})`];
}

function printJson(results: Results): void {
  const report = results.map(({ recording, result }) => ({
    recording: recording.path,
    calls: result.calls,
    equal: result.equal,
    different: result.different,
    known: Object.fromEntries(result.known),
  }));
  printLine(JSON.stringify(report, null, 2));
}
