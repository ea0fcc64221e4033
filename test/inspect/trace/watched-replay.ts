import { Host } from "../../../src/host/host.ts";
import type { Operation } from "../../../src/inspect/replay/operation.ts";
import { ReplayProcess } from "../../../src/inspect/replay/process.ts";
import { parseOperations } from "../../../src/inspect/replay/recorded-calls.ts";
import { Recorder } from "../../../src/inspect/trace/recorder.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { isLittleEndian } from "../../../src/kernel/arch.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";

/** Makes recorded calls against a host that is traced; returns the trace as it would be read from its file. */
export function traceOf(description: HostDescription, operations: readonly Operation[]): readonly Operation[] {
  const lines: string[] = [];
  const recorder = new Recorder({
    pageSize: description.pageSize,
    encoding: description.arch === "ppc64le" ? "powerpc" : "plain",
    write: (operation) => lines.push(JSON.stringify(operation)),
  });
  const host = new Host(description, { watch: recorder.model });
  const broken: string[] = [];
  watchKernel(host, [recorder], (message) => broken.push(message));
  const program = new ReplayProcess(host, isLittleEndian(description.arch));
  for (const operation of operations) program.run(operation);
  program.exit();
  recorder.end();
  if (broken[0] !== undefined) throw new Error(broken[0]);
  return parseOperations(lines.join("\n"), "trace");
}
