// What V8 does beside the thread that runs code, because that may go on for long: it optimizes what has run some thousand times, and marks memory that is
// in use. A start does everything once for each device of a host, never again, and keeps nearly all that it makes. For thousands of devices V8 would
// take a third of all the time that processors spend on the start. So it does that when the host is served. A usual host has a few devices: for that
// it is dearer to load the part of node that sets options, which comes with all of its streams.

const FLAGS = ["turbofan", "incremental-marking"];
let isPutOff = false;

/** Not where somebody has options of his own for V8. */
export function putOff() {
  if (!mayHaveMany() || process.execArgv.length > 0 || process.env.NODE_OPTIONS) return;
  set(true);
  globalThis[Symbol.for("uvfio.started")] = goOn;
}

/** Of commands that say when their host is there (src/interpose/started.ts): whether it may be another one than the usual. */
export function mayHaveMany() {
  const [command, option] = process.argv.slice(2);
  return command === "serve" || (command === "run" && option !== "--" && option?.startsWith("-"));
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
  const { setFlagsFromString } = process.getBuiltinModule("node:v8");
  for (const flag of FLAGS) setFlagsFromString(off ? `--no-${flag}` : `--${flag}`);
}
