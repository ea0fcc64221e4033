// What V8 does beside the thread that runs code, because that may go on for long: it optimizes what has run some thousand times, and marks memory that is
// in use. A start does everything once for each device of a host, never again, and keeps nearly all that it makes. For thousands of devices V8 would
// take a third of all the time that processors spend on the start. So it does that when the host is served.
import { setFlagsFromString } from "node:v8";

export const FLAGS = ["turbofan", "incremental-marking"];
/** Commands that say when their host is there (src/interpose/started.ts). */
const SERVE = new Set(["run", "serve"]);
let isPutOff = false;

/** Not where somebody has options of his own for V8. */
export function putOff() {
  if (!SERVE.has(process.argv[2]) || process.execArgv.length > 0 || process.env.NODE_OPTIONS) return;
  set(true);
  globalThis[Symbol.for("uvfio.started")] = goOn;
}

export function goOn() {
  if (isPutOff) set(false);
}

/** V8 takes compiled code with the options only that it was compiled with. */
export function compiledAsUsual(compile) {
  if (!isPutOff) return compile();
  set(false);
  try {
    return compile();
  } finally {
    set(true);
  }
}

function set(off) {
  isPutOff = off;
  for (const flag of FLAGS) setFlagsFromString(off ? `--no-${flag}` : `--${flag}`);
}
