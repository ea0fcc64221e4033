import { setFlagsFromString } from "node:v8";

/**
 * What threads of V8 do together while the only one that serves stands still: on a busy machine it would wait until all
 * of them have had a processor.
 */
const TOGETHER = ["parallel-scavenge", "parallel-compaction", "parallel-pointer-update"];

/** Has this thread collect its garbage alone; what goes on beside it goes on beside it. @returns ends that */
export function collectAlone(): () => void {
  for (const flag of TOGETHER) setFlagsFromString(`--no-${flag}`);
  return () => {
    for (const flag of TOGETHER) setFlagsFromString(`--${flag}`);
  };
}
