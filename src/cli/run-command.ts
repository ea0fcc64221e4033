import { inheritedDescriptors, type TimeLimit } from "../interpose/index.ts";
import { serve } from "../library/run/serve.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { type HostOrder, spokenRun } from "./run-host.ts";

export interface RunOptions extends HostOverrides {
  readonly machine?: string;
  readonly on?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly trace?: string;
  readonly fault?: readonly string[];
  readonly faultEach?: string;
  readonly faultTimeout?: string;
  readonly statNodes?: boolean;
  readonly sanitize?: boolean;
  readonly sanitizeError?: boolean;
}

// Before anything of ours is opened: what is open now is the program's.
const descriptors = attempt(inheritedDescriptors);

/** Without /proc there are none to be known: that is said when a program is to be run. */
function attempt<T>(call: () => T): () => T {
  try {
    const result = call();
    return () => result;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** `uvfio run`: the program's own exit status. */
export async function runCommand(argv: readonly string[], options: RunOptions): Promise<number> {
  if (options.on !== undefined) {
    const { runOnCommand } = await import("./run-on-command.ts");
    return runOnCommand(options.on, { argv, descriptors: descriptors() }, options);
  }
  const { machine, ...rest } = options;
  const description = await loadHost(machine, rest);
  const order: HostOrder = { description, listener: spokenRun(options), inspection: undefined };
  const start = ({ description, listener, inspection }: HostOrder, limit?: TimeLimit) =>
    serve(
      description,
      {
        argv: argv.map(bytesOfText),
        descriptors: descriptors(),
        trapPathStat: options.statNodes ?? false,
        ...(limit && { limit }),
      },
      listener,
      inspection,
    );
  const { trace, fault, faultEach, sanitize, sanitizeError } = options;
  if (
    trace === undefined &&
    !fault &&
    faultEach === undefined &&
    !sanitize &&
    !sanitizeError &&
    options.faultTimeout === undefined
  )
    return start(order);
  const { runInspected } = await import("./run-inspection.ts");
  return runInspected(argv, options, order, start);
}
