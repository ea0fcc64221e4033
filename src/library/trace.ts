import type { Operation } from "../inspect/replay/operation.ts";
import { withPropertyNames } from "./property-names.ts";
import { decodeTrace, readTrace, type Trace, type TraceOptions } from "./trace/read-trace.ts";

/**
 * Reads a trace (`uvfio trace`): a file that `uvfio run --trace` made or a recording, or the operations that run()
 * handed out.
 * @throws UsageError for a file that is not there and a filter that nothing can match, RecordingError for what is no
 * trace
 */
export function trace(source: string | readonly Operation[], options: TraceOptions = {}): Promise<Trace> {
  return withPropertyNames(() =>
    typeof source === "string" ? readTrace(source, options) : decodeTrace(source, options),
  );
}
