import { type FitRequest, judge, type PlannedLayout } from "./judge.ts";
import { GIB, MIB } from "./sizes.ts";

/** A guest of some size, and whether it fits. */
interface Tried {
  readonly memory: bigint;
  readonly request: FitRequest;
  readonly fits: boolean;
}

/** Between two powers of two, so many sizes are tried from the largest down. */
const STEPS = 16n;
/** No address space of an IOMMU or a CPU here is larger. */
const MOST_BITS = 57n;

/**
 * The largest memory that fits, in whole GiB; below one, in MiB. Undefined when nothing does.
 *
 * What fits need not be one piece: a VMM may move memory behind a hole from some size on. So sizes are tried from the
 * largest down, in steps of a sixteenth of an octave, and only the step above the first that fits is searched.
 * @param planned the layout of the options, whose memory is replaced
 */
export function mostThatFits(base: Omit<FitRequest, "layout">, planned: PlannedLayout): FitRequest | undefined {
  const ask = (memory: bigint): Tried => {
    const request = { ...planned.request, memory, maxMemory: memory };
    const asked = { ...base, planned: { ...planned, request }, layout: planned.layout(request) };
    return { memory, request: asked, fits: judge(asked).fits };
  };
  return (search(ask, GIB, 1n << MOST_BITS) ?? search(ask, MIB, GIB))?.request;
}

function search(ask: (memory: bigint) => Tried, unit: bigint, end: bigint): Tried | undefined {
  let above = end;
  for (let octave = end >> 1n; octave >= unit; octave >>= 1n) {
    for (let step = STEPS - 1n; step >= 0n; step--) {
      const memory = ((octave + (octave * step) / STEPS) / unit) * unit;
      if (memory >= above) continue;
      const tried = ask(memory);
      if (tried.fits) return between(ask, tried, above, unit);
      above = memory;
    }
  }
  return undefined;
}

/** The last size that fits from one that does up to one that does not. */
function between(ask: (memory: bigint) => Tried, fits: Tried, above: bigint, unit: bigint): Tried {
  let good = fits;
  let bad = above;
  while (bad - good.memory > unit) {
    const middle = ask(((good.memory + bad) / 2n / unit) * unit);
    if (middle.fits) good = middle;
    else bad = middle.memory;
  }
  return good;
}
