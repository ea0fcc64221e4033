import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { parseFault } from "../inspect/fault/fault-spec.ts";
import type { Operation } from "../inspect/replay/operation.ts";
import { cut } from "../inspect/replay/shown.ts";
import { allDevices } from "../machine/find-device.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { UsageError } from "./errors.ts";
import { Progress } from "./progress.ts";
import type { RunOptions } from "./run-command.ts";
import type { HostOrder } from "./run-host.ts";
import type { Counters, Inspection } from "./run-inspected.ts";

/** So much of the program's command line stands in a trace. */
const ARGUMENTS_MAX = 256;
const ARGUMENT_MAX = 4096;

type Start = (data: HostOrder) => Promise<number>;

/** `uvfio run` with --trace, --fault, --fault-each or --sanitize. */
export async function runInspected(
  argv: readonly string[],
  options: RunOptions,
  data: HostOrder,
  start: Start,
): Promise<number> {
  const { description } = data;
  const faults = options.fault ?? [];
  const devices = allDevices(description).flatMap(({ device }) => (device.bus === "pci" ? [device.bdf] : []));
  for (const text of faults) parseFault(text, devices);
  const sanitize = options.sanitize === true || options.sanitizeError === true;
  if (options.faultEach !== undefined) {
    if (options.trace !== undefined)
      throw new UsageError(
        "--fault-each runs the program many times: leave out --trace, and trace the run of interest with --fault REQUEST#N=ERRNO",
      );
    return faultEach(options, data, faults, sanitize, start);
  }
  const counters = noCounts();
  const trace = options.trace === undefined ? undefined : openTrace(options.trace, argv, options, description);
  const inspection: Inspection = { trace, faults, sanitize, counters };
  try {
    const status = await start({ ...data, inspection });
    return options.sanitizeError && counters.findings > 0 ? 1 : status;
  } finally {
    if (trace) closeSync(trace.fd);
  }
}

function noCounts(): Counters {
  return { eachInjected: 0, leakedMappings: 0, findings: 0 };
}

function openTrace(
  file: string,
  argv: readonly string[],
  { machine = "intel", api }: RunOptions,
  { name, kernel }: HostOrder["description"],
): Inspection["trace"] {
  const shown = argv.slice(0, ARGUMENTS_MAX).map((argument) => cut(argument, ARGUMENT_MAX));
  const head: Operation = { op: "host", version: 1, name, machine, kernel, ...(api && { api }), argv: shown };
  try {
    return { fd: openSync(bytesOfText(file), "w"), head };
  } catch (error) {
    throw new UsageError(`--trace ${file}: cannot be written (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
}

/** A program that does not come to an end of its faults is stopped here. */
const RUNS_MAX = 10_000;
const DEFAULT_ERRNO = "ENOMEM";

interface FaultRun {
  /** Which call failed, from 1; undefined in the last run, where none did. */
  readonly fault: number | undefined;
  readonly status: number;
  readonly leakedMappings: number;
  readonly findings: number;
}

/** Fails the 1st, 2nd, 3rd... call of a kind, a run each, until the program makes no more of them. 1 when a run was killed or left more mapped than the run without a fault. */
async function faultEach(
  options: RunOptions,
  data: HostOrder,
  faults: readonly string[],
  sanitize: boolean,
  start: Start,
): Promise<number> {
  const [name, errno = DEFAULT_ERRNO] = options.faultEach!.split("=") as [string, string?];
  if (/[#@]/.test(name))
    throw new UsageError(
      `--fault-each "${options.faultEach}": only a request and an errno, like VFIO_IOMMU_MAP_DMA=ENOMEM`,
    );
  parseFault(`${name}=${errno}`);
  const runs: FaultRun[] = [];
  const progress = new Progress(RUNS_MAX, "fault");
  for (let fault = 1; fault <= RUNS_MAX; fault++) {
    const counters = noCounts();
    const spec = `${name}#${fault}=${errno}`;
    const inspection: Inspection = { trace: undefined, faults: [...faults, spec], sanitize, counters, each: true };
    const status = await start({ ...data, inspection });
    const injected = counters.eachInjected > 0;
    const run: FaultRun = {
      fault: injected ? fault : undefined,
      status,
      leakedMappings: counters.leakedMappings,
      findings: counters.findings,
    };
    runs.push(run);
    progress.step(spec);
    if (!injected) break;
  }
  progress.end();
  const report = options.json ? [JSON.stringify({ request: name, errno, runs })] : faultReport(name, errno, runs);
  for (const line of report) process.stderr.write(`${line}\n`);
  const clean = runs.at(-1)!;
  return runs.some((run) => isBad(run, clean)) || (options.sanitizeError && runs.some(({ findings }) => findings > 0))
    ? 1
    : 0;
}

function isBad({ status, leakedMappings }: FaultRun, clean: FaultRun): boolean {
  return status > 128 || leakedMappings > clean.leakedMappings;
}

function faultReport(name: string, errno: string, runs: readonly FaultRun[]): string[] {
  const lines = runs.map((run) => {
    const what = run.fault === undefined ? "no fault" : `#${run.fault} = ${errno}`;
    const leaked =
      run.leakedMappings === 0
        ? "no mapping left"
        : `${run.leakedMappings} ${run.leakedMappings === 1 ? "mapping" : "mappings"} left`;
    const findings = run.findings === 0 ? "" : `, ${run.findings} ${run.findings === 1 ? "finding" : "findings"}`;
    return `uvfio: ${name} ${what}: ${statusText(run.status)}, ${leaked}${findings}`;
  });
  const clean = runs.at(-1)!;
  const killed = runs.filter(({ status }) => status > 128).length;
  const leaking = runs.filter((run) => run.leakedMappings > clean.leakedMappings).length;
  const ignored = runs.filter((run) => run.fault !== undefined && run.status === 0).length;
  const faulty = clean.fault === undefined ? runs.length - 1 : runs.length;
  const end = clean.fault === undefined ? "" : `; stopped after ${RUNS_MAX} runs`;
  return [
    ...lines,
    `uvfio: ${faulty} ${faulty === 1 ? "fault" : "faults"} of ${name}: ${killed} killed the program, ${leaking} left more mapped than the run without a fault, ${ignored} ended with exit status 0${end}`,
  ];
}

function statusText(status: number): string {
  if (status <= 128) return `exit status ${status}`;
  const signal = Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0];
  return `killed by ${signal ?? `signal ${status - 128}`}`;
}
