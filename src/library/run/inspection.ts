import type { Host } from "../../host/host.ts";
import type { Operation } from "../../inspect/replay/operation.ts";
import type { TellFinding } from "../../inspect/sanitize/findings.ts";
import type { Watcher } from "../../inspect/watch/watcher.ts";
import type { FinishedCall } from "../../interpose/index.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";

/** Where a trace goes, operation by operation. */
export interface TraceSink {
  write(operation: Operation): void;
  /** The last one was written. */
  end(): void;
}

/** DMA of a device that did not arrive. */
export interface FaultedDma {
  readonly device: string;
  readonly write: boolean;
  /** Where the access begins. */
  readonly iova: bigint;
  /** Bytes. */
  readonly length: number;
  /** The first address that was not reached, and why. */
  readonly at: bigint;
  readonly reason: string;
}

/** Looks on from beside: calls go as they do without it. */
export interface OnLooker {
  readonly model: NonNullable<Watcher["model"]>;
  /** The host has booted. */
  begin(host: Host): void;
  readonly before: NonNullable<HostKernel["before"]>;
  finished(call: FinishedCall): void;
  /** A line that is said. */
  note(line: string): void;
  /** The last process is gone. */
  ended(): void;
}

/** How the program is looked at while it runs. */
export interface Inspection {
  /** A trace goes there, with this as its first operation. */
  readonly trace: { readonly sink: TraceSink; readonly head: Operation } | undefined;
  /** As they were written; checked already. */
  readonly faults: readonly string[];
  readonly sanitize: boolean;
  /** Of a host of the run's own. */
  readonly looker?: OnLooker;
  /** Hears what the sanitizer finds, a line each; as all else that is said when left out. */
  readonly found?: TellFinding;
  /** Hears of DMA that did not arrive. */
  readonly faulted?: (fault: FaultedDma) => void;
  /** One of many runs (--fault-each): the last of `faults` is this run's, and may have nothing left to fail. */
  readonly each?: boolean;
  /** Filled at the end of the run. */
  readonly counters: Counters;
}

/** What a run has come to. */
export interface Counters {
  /** Calls that the last of the faults has failed, in one of many runs. */
  eachInjected: number;
  /** DMA mappings that were left when the program's last process had ended. */
  leakedMappings: number;
  findings: number;
}

export function noCounts(): Counters {
  return { eachInjected: 0, leakedMappings: 0, findings: 0 };
}
