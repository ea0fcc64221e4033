import { inheritedDescriptors, type TimeLimit } from "../interpose/index.ts";
import { serve } from "../library/run/serve.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import type { HostOrder } from "./run-host.ts";
import { messagesOf } from "./run-messages.ts";

export interface RunOptions extends HostOverrides {
  readonly machine?: string;
  readonly on?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly jsonFile?: string;
  readonly jsonFd?: string;
  readonly strace?: boolean;
  readonly timestamps?: boolean;
  readonly output?: string;
  readonly trace?: string;
  readonly fault?: readonly string[];
  readonly faultEach?: string;
  readonly faultTimeout?: string;
  readonly statNodes?: boolean;
  /** false: --no-mounts */
  readonly mounts?: boolean;
  readonly sanitize?: boolean;
  readonly sanitizeError?: boolean;
  readonly view?: boolean;
  readonly viewPort?: string;
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
  const messages = messagesOf(options);
  const description = await loadHost(machine, rest);
  const order: HostOrder = { description, listener: messages.listener, inspection: undefined };
  const start = ({ description, listener, inspection }: HostOrder, limit?: TimeLimit) =>
    serve(
      description,
      {
        argv: argv.map(bytesOfText),
        descriptors: messages.without(descriptors()),
        trapPathStat: options.statNodes ?? false,
        ...(options.mounts === false && { mounts: false }),
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
    !options.view &&
    !messages.isJson &&
    !options.strace &&
    !options.timestamps &&
    options.output === undefined &&
    options.viewPort === undefined &&
    options.faultTimeout === undefined
  )
    return start(order);
  const { runInspected } = await import("./run-inspection.ts");
  try {
    return await runInspected(argv, options, order, start);
  } finally {
    messages.close();
  }
}
