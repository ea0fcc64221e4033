import type { Operation } from "../../inspect/replay/operation.ts";
import { launchProgram, type RunOptions as ProgramOptions, RemoteHost } from "../../interpose/index.ts";
import type { CallFailure } from "./call-failure.ts";
import type { Counters } from "./inspection.ts";
import type { RunListener } from "./serve.ts";

/** How a run on a served host is looked at. */
export interface RemoteInspection {
  /** Takes each operation of the trace. */
  readonly trace?: (operation: Operation) => void;
  readonly faults?: readonly string[];
  readonly sanitize?: boolean;
  /** Filled at the end. */
  readonly counters?: Counters;
}

/** What stands for a program at the server, and in its trace. */
const ARGUMENTS_MAX = 256;
const ARGUMENT_MAX = 4096;

/**
 * Runs a program on a host that `uvfio serve` keeps.
 * @param socket of the server
 * @returns its exit status, 128 + n when signal n ended it
 * @throws InterposerError, also when the server ends meanwhile: the program is told then
 */
export async function runOn(
  socket: string,
  program: ProgramOptions,
  listener: RunListener,
  { trace, faults = [], sanitize = false, counters }: RemoteInspection = {},
): Promise<number> {
  const argv = program.argv.slice(0, ARGUMENTS_MAX).map((word) =>
    Buffer.from(word as string)
      .toString()
      .slice(0, ARGUMENT_MAX),
  );
  const request = RemoteHost.request({
    ...(trace && { trace: true, argv }),
    ...(faults.length > 0 && { faults }),
    ...(sanitize && { sanitize }),
  });
  const host = new RemoteHost(socket, request, argv.join(" "), {
    failed: (failure) => listener.failed?.(failure as CallFailure),
    noticed: (line) => listener.noticed?.(line),
    said: (line) => listener.said(line),
    traced: (operation) => trace?.(operation as Operation),
    counted: (found) => counters && Object.assign(counters, found),
    ended: () => listener.ended?.(),
  });
  try {
    return await launchProgram(host, program);
  } finally {
    host.close();
  }
}
