// V8 optimizes code that has run some thousand times, in threads beside the one that runs it. A start does everything once for each device of a host, and
// then never again: what V8 would make of that for thousands of devices takes a quarter of all the time that processors spend on the start. So it makes
// nothing of it until the host is served.
import { setFlagsFromString } from "node:v8";

/** Commands that say when their host is there (src/interpose/started.ts). */
const SERVE = new Set(["run", "serve"]);
let isOff = false;

/** Not where somebody has options of his own for V8. */
export function optimizeLater() {
  if (!SERVE.has(process.argv[2]) || process.execArgv.length > 0 || process.env.NODE_OPTIONS) return;
  set(true);
  globalThis[Symbol.for("uvfio.started")] = optimizeNow;
}

export function optimizeNow() {
  if (isOff) set(false);
}

/** V8 takes compiled code with the options only that it was compiled with. */
export function compiledAsUsual(compile) {
  if (!isOff) return compile();
  set(false);
  try {
    return compile();
  } finally {
    set(true);
  }
}

function set(off) {
  isOff = off;
  setFlagsFromString(off ? "--no-turbofan" : "--turbofan");
}
