import { writeSync } from "node:fs";
import type { Observer, Served } from "../interpose/index.ts";
import { Host } from "../iommufd/host.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { FailureReport } from "./failure-line.ts";
import type { Inspection } from "./run-inspected.ts";

/** The host of a run, and what it says. */
export interface HostOrder {
  readonly description: HostDescription;
  /** Say nothing of failed calls. */
  readonly quiet: boolean;
  /** Failed calls as lines of JSON. */
  readonly json: boolean;
  readonly inspection: Inspection | undefined;
}

/** The program waits while a line is written: straight to the descriptor. */
function write(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // nobody reads stderr any more: that must not end the program's host
  }
}

/** Builds the host that a program runs against. */
export async function buildHost({ description, quiet, json, inspection }: HostOrder): Promise<Served> {
  const report = new FailureReport(json ? write : (line) => write(`uvfio: ${line}`), json);
  const say = (line: string) => {
    report.flush();
    write(json ? JSON.stringify({ message: line }) : `uvfio: ${line}`);
  };
  const warn = quiet ? () => {} : say;
  const observer: Observer = {
    ...(!quiet && { failed: (call) => report.failed(call) }),
    noticed: warn,
    broken: (message) => say(message),
  };
  const ended = () => report.flush();
  if (inspection) {
    const { inspectedHost } = await import("./run-inspected.ts");
    return inspectedHost(description, inspection, { say, warn }, observer, ended);
  }
  return { kernel: new Host(description, { onWarning: warn }), observer, ended };
}
