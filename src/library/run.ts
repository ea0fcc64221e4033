import { constants } from "node:os";
import type { Operation } from "../inspect/replay/operation.ts";
import { type HostOverrides, type HostSource, loadHost } from "../machine/load-host.ts";
import { NamelessFile } from "../machine/nameless-file.ts";
import { withPropertyNames } from "./property-names.ts";
import type { CallFailure } from "./run/call-failure.ts";
import { checkFaults } from "./run/faults.ts";
import { type Inspection, noCounts } from "./run/inspection.ts";
import { serve } from "./run/serve.ts";

/** How a program is run, and how it is looked at meanwhile. */
export interface RunOptions extends HostOverrides {
  /** The host that it sees; "intel" when left out. */
  readonly host?: HostSource;
  /** Its environment; this process's when left out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Its working directory; this process's when left out. */
  readonly cwd?: string;
  /** What it reads from stdin; this process's stdin when left out. */
  readonly input?: string;
  /** Whether what it prints is collected for the result; otherwise it prints where this process does. */
  readonly collect?: boolean;
  /** It is ended when it takes longer. Milliseconds; never when left out. */
  readonly timeout?: number;
  /**
   * Have calls or DMA fail, as `uvfio run --fault` takes them: "VFIO_IOMMU_MAP_DMA#3=ENOMEM" (docs/fault-injection.md).
   */
  readonly faults?: readonly string[];
  /** Look for misuse of DMA mappings (docs/sanitizer.md). */
  readonly sanitize?: boolean;
  /** Whether every call is recorded for the result, or who takes each operation as it comes. */
  readonly trace?: boolean | ((operation: Operation) => void);
}

/** What came of a run. */
export interface RunResult {
  /** The program's exit status; 128 + n when signal n ended it. */
  readonly status: number;
  /** The signal that ended it. */
  readonly signal: NodeJS.Signals | undefined;
  /** It took too long, and was ended. */
  readonly timedOut: boolean;
  /** Calls that failed, in order, with the reason for each. At most FAILURES_MAX. */
  readonly failures: readonly CallFailure[];
  /** What else a person should know, a line each. */
  readonly messages: readonly string[];
  /** What the sanitizer has found, a line each. */
  readonly findings: readonly string[];
  /** DMA mappings that were left when the last process had ended; known with `sanitize`. */
  readonly leakedMappings: number | undefined;
  /** With `trace: true` what trace() takes, and, a line of JSON each, `uvfio trace` and `uvfio replay`. */
  readonly trace: readonly Operation[] | undefined;
  /** What it printed, with `collect`. */
  readonly stdout: string;
  /** What it printed there, with `collect`. */
  readonly stderr: string;
}

/** So many failed calls are kept of a run. */
export const FAILURES_MAX = 10_000;

/** One program has this thread at a time. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * Runs an unmodified program against a host, as `uvfio run` does, and resolves when it and all that it has started have
 * ended. A run serves the program in this thread; several run one after the other.
 *
 * @param argv the program and its arguments; it is looked for along PATH
 * @throws HostDescriptionError, UsageError for what is asked; InterposerError when the program could not be started
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = turn.then(() => runOnce(argv, options));
  turn = result.catch(() => {});
  return result;
}

async function runOnce(argv: readonly string[], options: RunOptions): Promise<RunResult> {
  const { host, kernel, api, env = process.env, cwd, timeout, collect = false, input } = options;
  const description = await loadHost(host, { kernel, api });
  await withPropertyNames(() => checkFaults(options.faults ?? [], description));
  const failures: CallFailure[] = [];
  const messages: string[] = [];
  const findings: string[] = [];
  const trace: Operation[] = [];
  const inspection = inspect(
    options,
    { op: "host", version: 1, ...headOf(description, options), argv },
    trace,
    findings,
  );
  let timedOut = false;
  const expired = () => {
    timedOut = true;
  };
  const files = [
    input === undefined ? undefined : NamelessFile.of(input),
    ...(collect ? [new NamelessFile(), new NamelessFile()] : []),
  ];
  try {
    const status = await serve(
      description,
      {
        argv,
        env,
        ...(cwd !== undefined && { cwd }),
        ...(timeout !== undefined && { limit: { milliseconds: timeout, expired } }),
        standard: files.map((file) => file?.fd),
      },
      {
        failed: (failure) => {
          if (failures.length < FAILURES_MAX) failures.push(failure);
        },
        noticed: (line) => messages.push(line),
        said: (line) => messages.push(line),
      },
      inspection,
    );
    const [, stdout = "", stderr = ""] = files.map((file) => file?.text());
    return {
      status,
      signal: signalOf(status),
      timedOut,
      failures,
      messages,
      findings,
      leakedMappings: options.sanitize ? inspection?.counters.leakedMappings : undefined,
      trace: options.trace === true ? trace : undefined,
      stdout,
      stderr,
    };
  } finally {
    for (const file of files) file?.close();
  }
}

/** What a trace says of its host: a replay of one in code is told it with -m. */
function headOf({ name, kernel }: { name: string; kernel: string }, { host = "intel", api }: RunOptions) {
  return {
    name,
    kernel,
    ...(typeof host === "string" && !host.includes("\n") && { machine: host }),
    ...(api && { api }),
  };
}

function inspect(
  { faults = [], sanitize = false, trace = false }: RunOptions,
  head: Operation,
  recorded: Operation[],
  findings: string[],
): Inspection | undefined {
  if (faults.length === 0 && !sanitize && trace === false) return undefined;
  const write = trace === true ? (operation: Operation) => void recorded.push(operation) : trace;
  return {
    trace: write ? { sink: { write, end() {} }, head } : undefined,
    faults,
    sanitize,
    found: (line) => findings.push(line),
    counters: noCounts(),
  };
}

function signalOf(status: number): NodeJS.Signals | undefined {
  if (status <= 128) return undefined;
  const found = Object.entries(constants.signals).find(([, number]) => number === status - 128);
  return found?.[0] as NodeJS.Signals | undefined;
}
