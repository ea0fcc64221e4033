import { alternate, median, quantile, times } from "../lib/measure.mjs";
import { DEVICE } from "../lib/programs.mjs";
import { once } from "../lib/workload.mjs";

const ROUNDS = { quick: 3, long: 9 };
/** dma_entry_limit, as it is unless somebody changes it. */
const COUNT = 65_535;
const LIMIT_SECONDS = 3;
const NANOSECONDS = 1e9;
const least = (numbers) => Math.min(...numbers);
const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

const measure = once((programs) => {
  const runs = [];
  const compared = alternate(
    programs.long ? ROUNDS.long : ROUNDS.quick,
    () => {
      runs.push(times(programs.uvfio(programs.calls("map", COUNT, DEVICE))));
      return sum(runs.at(-1));
    },
    () => sum(times(programs.supervisor(programs.calls("map", COUNT)))),
    // A total has every moment in it that other programs took: the least of each side has the fewest.
    least,
  );
  return { compared, runs };
});

/** Doubling steps of the median call. */
function histogram(runs) {
  const all = Float64Array.from(runs.flatMap((run) => [...run]));
  const middle = median(all);
  const edges = [0.5, 0.75, 1, 1.5, 2, 4, 8, 16, 64, Number.POSITIVE_INFINITY];
  const lines = edges.map((edge, i) => {
    const from = i === 0 ? 0 : edges[i - 1];
    const share = all.filter((time) => time >= from * middle && time < edge * middle).length / all.length;
    const label = edge === Number.POSITIVE_INFINITY ? `above ${from}` : `${from} - ${edge}`;
    return `| ${label} | ${(100 * share).toFixed(3)} % | ${"#".repeat(Math.ceil(40 * share))} |`;
  });
  const tail = [0.9, 0.99, 0.999].map(
    (share) => `${100 * share} % within ${(quantile(all, share) / middle).toFixed(1)}`,
  );
  return [
    `Latency of a call as a multiple of the median call, over ${runs.length} runs: ${tail.join(", ")}.`,
    ["| multiple of the median | share of calls | |", "| --- | --- | --- |", ...lines].join("\n"),
  ].join("\n\n");
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "65,535 MAP_DMA against C",
    measures: "a container filled to its limit with mappings of 4 KiB, from the first call on, V8's compiling included",
    baseline:
      "the same served by `bench/c/supervisor.c`, which keeps its mappings in one sorted array; of both sides the shortest round",
    target: { atMost: 1.5 },
    explanation: `The time of a call does not grow with the number of mappings: they are columns of typed arrays behind an interval map of
sorted chunks, and a call allocates nothing that lives.`,
    run(programs) {
      const { compared, runs } = measure(programs);
      return { ...compared, details: histogram(runs) };
    },
  },
  {
    name: "65,535 MAP_DMA in 3 seconds",
    measures: "the whole of it, as a share of three seconds",
    baseline: "three seconds of this machine: the only figure here that is about time itself",
    target: { atMost: 1 },
    explanation: "A VMM that maps page by page must not notice that no kernel answers.",
    run(programs) {
      const rounds = measure(programs).runs.map((run) => sum(run) / NANOSECONDS / LIMIT_SECONDS);
      return { ratio: median(rounds), rounds };
    },
  },
];
