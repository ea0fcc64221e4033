import { writeFileSync } from "node:fs";
import { alternate, median, times } from "../lib/measure.mjs";

const ROUNDS = { quick: 3, long: 9 };
const CALLS = { quick: 15_000, long: 60_000 };
const COUNTS = [1, 2, 4, 8];
const MOST = COUNTS.at(-1);
/** Starts the client once for each of its arguments, all at a time. */
const TOGETHER = 'for device in "$@"; do "$0" info $CALLS $device & done; wait';

/** A host of so many groups, with a device each. */
function host(programs) {
  const path = programs.file("processes.yaml");
  const groups = Array.from(
    { length: MOST },
    (_, i) => `  - { id: ${i + 1}, devices: [{ bdf: "${bdf(i)}", id: "8086:10d3" }] }`,
  );
  const text = `name: bench\niommu: { model: intel-vtd, address_bits: 39 }\ngroups:\n${groups.join("\n")}\n`;
  writeFileSync(path, text);
  return path;
}

const bdf = (index) => `0000:0${index + 1}:00.0`;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: `${MOST} processes at once, VFIO_IOMMU_GET_INFO`,
    measures: `a call while ${MOST} processes make it all the time, each on a container of its own`,
    baseline: "the same processes under `bench/c/supervisor.c`, which serves all of them with one thread too",
    target: { atMost: 1.5 },
    explanation: `One thread serves all processes of a run, so that a call waits for those of the others: what it takes grows with their number, on
both sides.`,
    run(programs) {
      const path = host(programs);
      const length = programs.long ? "long" : "quick";
      const script = TOGETHER.replace("$CALLS", String(CALLS[length]));
      const client = programs.path("calls");
      const compare = (count) => {
        const devices = Array.from({ length: count }, (_, i) => bdf(i));
        const ours = programs.uvfio(["sh", "-c", script, client, ...devices], { host: path });
        // without the name of a device the client takes /dev/null for its container
        const theirs = programs.supervisor(["sh", "-c", script, client, ...devices.map(() => "")]);
        const middles = [];
        const measure = () => {
          const middle = median(times(ours));
          middles.push(middle);
          return middle;
        };
        return { ...alternate(ROUNDS[length], measure, () => median(times(theirs))), middle: median(middles) };
      };
      const results = COUNTS.map(compare);
      const lines = results.map(
        ({ ratio, middle }, i) => `| ${COUNTS[i]} | ${ratio.toFixed(2)} | ${(middle / results[0].middle).toFixed(2)} |`,
      );
      const table = ["| processes | against C | against one process |", "| --- | --- | --- |", ...lines].join("\n");
      return { ...results.at(-1), details: table };
    },
  },
];
