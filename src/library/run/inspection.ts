import type { Operation } from "../../inspect/replay/operation.ts";

/** Where a trace goes, operation by operation. */
export interface TraceSink {
  write(operation: Operation): void;
  /** The last one was written. */
  end(): void;
}

/** How the program is looked at while it runs. */
export interface Inspection {
  /** A trace goes there, with this as its first operation. */
  readonly trace: { readonly sink: TraceSink; readonly head: Operation } | undefined;
  /** As they were written; checked already. */
  readonly faults: readonly string[];
  readonly sanitize: boolean;
  /** Hears what the sanitizer finds, a line each; as all else that is said when left out. */
  readonly found?: (line: string) => void;
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
