import { Host } from "../../iommufd/host.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import type { Answer } from "./answer.ts";
import { type Difference, difference } from "./compare.ts";
import { KnownDifferences } from "./known-differences.ts";
import { ReplayProcess } from "./process.ts";
import type { Operation } from "./recording.ts";

/** An operation that the model answered in another way. */
export interface DifferentCall extends Difference {
  /** Line in the recording, from 1. */
  readonly line: number;
  readonly operation: Operation;
  /** The model's reason for its errno, where it gave one. */
  readonly reason?: string;
}

export interface ReplayResult {
  /** Operations compared. */
  readonly calls: number;
  readonly equal: number;
  /** Answers that should be equal and are not. */
  readonly different: readonly DifferentCall[];
  /** Answers that differ for a documented reason: how many for each. */
  readonly known: ReadonlyMap<string, number>;
}

/** Makes recorded calls against a freshly booted host and compares every answer. */
export function replay(description: HostDescription, operations: readonly Operation[]): ReplayResult {
  const warnings: string[] = [];
  const process = new ReplayProcess(new Host(description, { onWarning: (message) => warnings.push(message) }));
  const knownDifferences = new KnownDifferences(description);
  const different: DifferentCall[] = [];
  const known = new Map<string, number>();
  let calls = 0;
  for (const [index, operation] of operations.entries()) {
    const answer = process.run(operation);
    if (!answer) continue;
    calls++;
    const found = difference(operation, answer);
    const reason = knownDifferences.explain(operation, found, [...warnings.splice(0), answer.reason ?? ""]);
    if (!found) continue;
    if (reason !== undefined) known.set(reason, (known.get(reason) ?? 0) + 1);
    else different.push({ ...found, line: index + 1, operation, ...reasonOf(answer) });
  }
  process.exit();
  let explained = 0;
  for (const count of known.values()) explained += count;
  return { calls, equal: calls - different.length - explained, different, known };
}

function reasonOf(answer: Answer): { reason?: string } {
  return answer.reason === undefined ? {} : { reason: answer.reason };
}
