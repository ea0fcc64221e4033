import { Host } from "../../host/host.ts";
import { type Observer, type RunOptions as ProgramOptions, runProgram, type Served } from "../../interpose/index.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { type CallFailure, callFailure } from "./call-failure.ts";
import type { Inspection } from "./inspection.ts";

/**
 * Who hears what happens while a program runs. It waits meanwhile, and nothing else of this process goes on: be quick,
 * and write with fs.writeSync().
 */
export interface RunListener {
  /** A call that failed. */
  failed?(failure: CallFailure): void;
  /** What a person should know although no call failed. A line. */
  noticed?(line: string): void;
  /** What has to be said in any case: something is wrong with uvfio itself, or with what was asked. A line. */
  said(line: string): void;
  /** Something that has parts, as JSON has it. Left out: lines are enough. */
  record?(record: object): void;
  /** The last process is gone. */
  ended?(): void;
}

/** Runs a program against a host. @returns its exit status, 128 + n when signal n ended it */
export async function serve(
  description: HostDescription,
  program: ProgramOptions,
  listener: RunListener,
  inspection?: Inspection,
): Promise<number> {
  const served = await boot(description, listener, inspection);
  try {
    return await runProgram(served, program);
  } finally {
    served.kernel.close?.();
  }
}

async function boot(description: HostDescription, listener: RunListener, inspection?: Inspection): Promise<Served> {
  const say = (line: string) => listener.said(line);
  const warn = (line: string) => listener.noticed?.(line);
  const observer: Observer = {
    ...(listener.failed && { failed: (call) => listener.failed!(callFailure(call)) }),
    noticed: warn,
    broken: say,
  };
  const ended = () => listener.ended?.();
  if (inspection) {
    const { inspectedHost } = await import("./inspected.ts");
    return inspectedHost(description, inspection, { say, warn }, observer, ended);
  }
  return { kernel: new Host(description, { onWarning: warn }), observer, ended };
}
