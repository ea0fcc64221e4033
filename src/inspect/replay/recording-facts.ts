import type { Operation } from "./operation.ts";

/** What has to be known of a whole recording before its first operation is made or shown. */
export interface RecordingFacts {
  /** Operations in it. */
  readonly count: number;
  readonly first: Operation | undefined;
  readonly last: Operation | undefined;
  /** Devices did long jobs in slices, and the recording says when. */
  readonly hasSlices: boolean;
  /** Operations say when they ended. */
  readonly isTimed: boolean;
  /** More than one thread made calls. */
  readonly hasThreads: boolean;
  /** Processes of the recorded program by their number in the recording, with the one that they had. */
  readonly pids: ReadonlyMap<number, number>;
}

/** Goes through all operations once and keeps none of them. */
export function surveyOf(operations: Iterable<Operation>): RecordingFacts {
  const pids = new Map<number, number>();
  let count = 0;
  let first: Operation | undefined;
  let last: Operation | undefined;
  let hasSlices = false;
  let isTimed = false;
  let hasThreads = false;
  let thread: number | undefined;
  for (const operation of operations) {
    const { op, at, tid, process = 1, pid } = operation;
    if (count === 0) first = operation;
    count++;
    last = operation;
    if (op === "work") hasSlices = true;
    if (at !== undefined) isTimed = true;
    if (tid !== undefined) {
      hasThreads ||= thread !== undefined && thread !== tid;
      thread = tid;
    }
    if (pid !== undefined && !pids.has(process)) pids.set(process, pid);
  }
  return { count, first, last, hasSlices, isTimed, hasThreads, pids };
}

/** Why a recording is not whole, in one line with the place and what to do; undefined when it is. */
export function missingEnd({ last, count }: RecordingFacts, path: string): string | undefined {
  if (last?.op === "end" || last?.op === "kernel-crash") return undefined;
  return `${path}:${Math.max(count, 1)}: the end of the trace is missing: it was cut off, or is being written still; trace again to have it all`;
}
