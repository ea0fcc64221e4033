import { noCounts } from "../library/run/inspection.ts";
import { runOn } from "../library/run/run-on.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { UsageError } from "./errors.ts";
import { openOutput } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import { messagesOf } from "./run-messages.ts";
import { straceOf } from "./strace.ts";
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
  if (options.view || options.viewPort !== undefined)
    throw new UsageError(`--view and --on: uvfio view --on ${socket} shows that host; leave out --view`);
  if (options.mounts === false)
    throw new UsageError("--no-mounts and --on: a served host is shown by mounts; leave out --on");
  const messages = messagesOf(options);
  const { listener } = messages;
  const file = options.trace === undefined ? undefined : openOutput(options.trace, "--trace");
  const trace = file && new TraceFile(file, (line) => listener.said(line));
  const strace = straceOf(options);
  const counters = noCounts();
  const sanitize = options.sanitize === true || options.sanitizeError === true;
  try {
    const status = await runOn(
      socket,
      {
        argv: argv.map(bytesOfText),
        descriptors: messages.without(descriptors),
        trapPathStat: options.statNodes ?? false,
      },
      listener,
      {
        ...((trace || strace) && {
          trace: (operation) => {
            trace?.write(operation);
            strace?.write(operation);
          },
        }),
        faults: options.fault ?? [],
        sanitize,
        counters,
      },
    );
    return options.sanitizeError && counters.findings > 0 ? 1 : status;
  } finally {
    trace?.end();
    file?.close();
    strace?.close();
    messages.close();
  }
}
