import { noCounts } from "../library/run/inspection.ts";
import { runOn } from "../library/run/run-on.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { UsageError } from "./errors.ts";
import { openOutput } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import { spokenRun } from "./run-host.ts";
import { TraceFile } from "./trace-file.ts";

/** What the host of `uvfio serve` was started with, and what a run on it cannot have. */
const HOST_OPTIONS = [
  ["machine", "-m"],
  ["kernel", "--kernel"],
  ["api", "--api"],
] as const;

/** `uvfio run --on SOCKET`: the program's own exit status. */
export async function runOnCommand(
  socket: string,
  { argv, descriptors }: { readonly argv: readonly string[]; readonly descriptors: readonly number[] },
  options: RunOptions,
): Promise<number> {
  for (const [name, option] of HOST_OPTIONS)
    if (options[name] !== undefined)
      throw new UsageError(
        `${option} and --on: the host is the one that uvfio serve was started with; leave out ${option}`,
      );
  if (options.faultEach !== undefined || options.faultTimeout !== undefined)
    throw new UsageError("--fault-each and --on: each run needs a host as it booted; leave out --on");
  const listener = spokenRun(options);
  const file = options.trace === undefined ? undefined : openOutput(options.trace, "--trace");
  const trace = file && new TraceFile(file, (line) => listener.said(line));
  const counters = noCounts();
  const sanitize = options.sanitize === true || options.sanitizeError === true;
  try {
    const status = await runOn(
      socket,
      { argv: argv.map(bytesOfText), descriptors, trapPathStat: options.statNodes ?? false },
      listener,
      {
        ...(trace && { trace: (operation) => trace.write(operation) }),
        faults: options.fault ?? [],
        sanitize,
        counters,
      },
    );
    return options.sanitizeError && counters.findings > 0 ? 1 : status;
  } finally {
    trace?.end();
    file?.close();
  }
}
