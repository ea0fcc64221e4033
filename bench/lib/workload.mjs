/**
 * What a module of ../workloads exports as `workloads`, one or more of it.
 *
 * @typedef {object} Workload
 * @property {string} name
 * @property {string} measures what is timed under uvfio
 * @property {string} baseline what that is divided by, measured in the same session
 * @property {{ atMost: number } | { atLeast: number }} target of the ratio
 * @property {string} explanation for docs/performance-details.md: why the ratio is what it is
 * @property {(programs: import("./programs.mjs").Programs) => Result | Promise<Result>} run throws NotHere
 *
 * @typedef {object} Result
 * @property {number} ratio
 * @property {number[]} rounds the ratios of single rounds: how much the machine disturbs
 * @property {string} [details] Markdown: a histogram, a profile
 */

/** Whether a ratio is what was asked for. */
export function meets(target, ratio) {
  return "atMost" in target ? ratio <= target.atMost : ratio >= target.atLeast;
}

export function targetText(target) {
  // two digits at most
  const text = (number) => String(Math.round(number * 100) / 100);
  return "atMost" in target ? `at most ${text(target.atMost)}` : `at least ${text(target.atLeast)}`;
}

/** Calls `make` at the first call only: for figures that come out of one measurement. */
export function once(make) {
  let made;
  return (...args) => {
    made ??= { value: make(...args) };
    return made.value;
  };
}
