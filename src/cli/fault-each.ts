import { constants } from "node:os";
import { FaultSpecError, parseFault } from "../inspect/fault/fault-spec.ts";
import { refuseUnserved } from "../inspect/fault/served-requests.ts";
import { counted } from "../kernel/counted.ts";
import { type Inspection, noCounts } from "../library/run/inspection.ts";
import { UsageError } from "./errors.ts";
import { complain, complainRaw } from "./output.ts";
import { Progress } from "./progress.ts";
import type { RunOptions } from "./run-command.ts";
import { type HostOrder, spokenRun } from "./run-host.ts";
import type { Start } from "./run-inspection.ts";

/** A program that does not come to an end of its faults is stopped here. */
const RUNS_MAX = 10_000;
const DEFAULT_ERRNO = "ENOMEM";
/** Seconds that one run may take. */
const DEFAULT_TIMEOUT = 60;
const TIMEOUT_MAX = 86_400;

interface FaultRun {
  /** Which call failed, from 1; undefined in the last run, where none did. */
  readonly fault: number | undefined;
  readonly status: number;
  /** It took too long, and was ended. */
  readonly timedOut: boolean;
  readonly leakedMappings: number;
  readonly findings: number;
}

/**
 * Fails the 1st, 2nd, 3rd... call of a kind, a run each, until the program makes no more of them. 1 when a run was
 * killed, took too long, or left more mapped than the run without a fault.
 */
export async function faultEach(
  options: RunOptions,
  data: HostOrder,
  faults: readonly string[],
  sanitize: boolean,
  start: Start,
): Promise<number> {
  const { name, errno } = target(options.faultEach!, data);
  const seconds = timeout(options.faultTimeout);
  const runs: FaultRun[] = [];
  const progress = new Progress(undefined, "fault");
  const listener = spokenRun({ quiet: true, json: options.json ? (line) => complainRaw(`${line}\n`) : undefined });
  for (let fault = 1; fault <= RUNS_MAX; fault++) {
    const counters = noCounts();
    const spec = `${name}#${fault}=${errno}`;
    const inspection: Inspection = { trace: undefined, faults: [...faults, spec], sanitize, counters, each: true };
    let timedOut = false;
    const expired = () => {
      timedOut = true;
    };
    const limit = seconds === 0 ? undefined : { milliseconds: seconds * 1000, expired };
    const status = await start({ ...data, listener, inspection }, limit);
    const { eachInjected, leakedMappings, findings } = counters;
    runs.push({ fault: eachInjected > 0 ? fault : undefined, status, timedOut, leakedMappings, findings });
    progress.step(spec);
    if (eachInjected === 0) break;
  }
  progress.end();
  if (options.json) complainRaw(`${JSON.stringify({ request: name, errno, runs })}\n`);
  else for (const line of report(name, errno, runs, seconds)) complain(line);
  const clean = runs.at(-1)!;
  const isBad = (run: FaultRun) => run.status > 128 || run.timedOut || run.leakedMappings > clean.leakedMappings;
  return runs.some((run) => isBad(run) || (options.sanitizeError && run.findings > 0)) ? 1 : 0;
}

function target(text: string, { description }: HostOrder): { readonly name: string; readonly errno: string } {
  const [name = "", errno = DEFAULT_ERRNO, ...rest] = text.split("=");
  if (/[#@:]/.test(name) || rest.length > 0)
    throw new UsageError(`--fault-each "${text}": only a request and an errno, like VFIO_IOMMU_MAP_DMA=ENOMEM`);
  const spec = `${name}=${errno}`;
  try {
    refuseUnserved(parseFault(spec), description);
  } catch (error) {
    if (!(error instanceof FaultSpecError)) throw error;
    throw new UsageError(error.message.replace(`--fault "${spec}"`, `--fault-each "${text}"`));
  }
  return { name, errno };
}

function timeout(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT;
  const seconds = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= TIMEOUT_MAX))
    throw new UsageError(`--fault-timeout "${text}": not seconds from 0 (never) to ${TIMEOUT_MAX}`);
  return seconds;
}

/** A line for all runs in a row that ended alike, and one for all of them. */
function report(name: string, errno: string, runs: readonly FaultRun[], seconds: number): string[] {
  const lines: string[] = [];
  for (let first = 0; first < runs.length; ) {
    const ending = endText(runs[first]!, seconds);
    const isFaulty = runs[first]!.fault !== undefined;
    let next = first + 1;
    while (isFaulty && runs[next]?.fault !== undefined && endText(runs[next]!, seconds) === ending) next++;
    const count = next - first;
    const which = count === 1 ? `#${first + 1} = ${errno}` : `#${first + 1} to #${next} = ${errno}, each of ${count}`;
    lines.push(`${name} ${isFaulty ? which : "no fault"}: ${ending}`);
    first = next;
  }
  return [...lines, summary(name, runs)];
}

function endText({ status, timedOut, leakedMappings, findings }: FaultRun, seconds: number): string {
  const end = timedOut ? `not over after ${seconds} s, ended (--fault-timeout)` : statusText(status);
  const left = leakedMappings === 0 ? "no mapping left" : `${counted(leakedMappings, "mapping")} left`;
  return `${end}, ${left}${findings === 0 ? "" : `, ${counted(findings, "finding")}`}`;
}

function summary(name: string, runs: readonly FaultRun[]): string {
  const clean = runs.at(-1)!;
  const killed = runs.filter(({ status, timedOut }) => status > 128 && !timedOut).length;
  const timedOut = runs.filter((run) => run.timedOut).length;
  const leaking = runs.filter((run) => run.leakedMappings > clean.leakedMappings).length;
  const ignored = runs.filter((run) => run.fault !== undefined && run.status === 0).length;
  const faulty = clean.fault === undefined ? runs.length - 1 : runs.length;
  const late = timedOut === 0 ? "" : `, ${timedOut} took too long`;
  const end = clean.fault === undefined ? "" : `; stopped after ${RUNS_MAX} runs`;
  return `${counted(faulty, "fault")} of ${name}: ${killed} killed the program${late}, ${leaking} left more mapped than the run without a fault, ${ignored} ended with exit status 0${end}`;
}

function statusText(status: number): string {
  if (status <= 128) return `exit status ${status}`;
  const signal = Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0];
  return `killed by ${signal ?? `signal ${status - 128}`}`;
}
