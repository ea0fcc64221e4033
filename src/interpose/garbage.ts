import { setFlagsFromString } from "node:v8";

/**
 * What threads of V8 do together while the only one that serves stands still: on a busy machine it would wait until all
 * of them have had a processor.
 */
const TOGETHER = ["parallel-scavenge", "parallel-compaction", "parallel-pointer-update"];
/** Programs that end soon need not wait for it. */
const SETTLED_MS = 300;

/**
 * Has this thread collect its garbage alone, soon; what goes on beside it goes on beside it.
 * @param isOver there is nothing to serve any more: it need not
 * @returns ends that
 */
export function collectAlone(isOver = false): () => void {
  if (isOver) return () => {};
  let isAlone = false;
  const settled = setTimeout(() => {
    isAlone = true;
    for (const flag of TOGETHER) setFlagsFromString(`--no-${flag}`);
  }, SETTLED_MS);
  return () => {
    clearTimeout(settled);
    if (isAlone) for (const flag of TOGETHER) setFlagsFromString(`--${flag}`);
  };
}
