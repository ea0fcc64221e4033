import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { takePreparation } from "./prepare-run.ts";
import type { RunWorkerData } from "./run-worker.ts";

export interface RunOptions extends HostOverrides {
  readonly machine?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly trace?: string;
  readonly fault?: readonly string[];
  readonly faultEach?: string;
  readonly sanitize?: boolean;
  readonly sanitizeError?: boolean;
}

/** `uvfio run`: the program's own exit status. The host lives in a Worker that serves the program's calls. */
export async function runCommand(argv: readonly string[], options: RunOptions): Promise<number> {
  const { machine, quiet = false, json = false, ...rest } = options;
  const description = await loadHost(machine, rest);
  const data: RunWorkerData = { description, quiet, json, inspection: undefined };
  const start = (workerData: RunWorkerData) => takePreparation().run({ argv, workerData });
  const { trace, fault, faultEach, sanitize, sanitizeError } = options;
  if (trace === undefined && !fault && faultEach === undefined && !sanitize && !sanitizeError) return start(data);
  const { runInspected } = await import("./run-inspection.ts");
  return runInspected(argv, options, data, start);
}
