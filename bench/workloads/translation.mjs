import { alternate, inside, least, leastOf } from "../lib/measure.mjs";

const LIVE = 100_000;
/** Lookups that are timed together, and how often; the least counts. */
const COUNT = 100_000;
const TRIES = 25;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "translation among 100,000 mappings",
    measures:
      "where a random page goes: what an access of a device asks before it moves data, permissions included; mappings of one page made in no order",
    baseline: "the same random pages looked up in a red-black tree in C (`bench/c/translate.c`, <sys/tree.h>)",
    target: { atMost: 0.5 },
    explanation: `A page that a device has reached before is not searched for: some bits of its number lead to a hint, four bytes, which says
in which slot the mapping was (\`src/vfio/type1/mapping-table.ts\`), and the slot says whether it still is there. That is what an IOTLB does
for an IOMMU, only that nothing need be flushed. It is a few dozen instructions, so that the processor begins several lookups before the
first has its memory. There are twice to four times as many hints as mappings (at most a million), and none before a device does DMA.

A page that is reached for the first time, or whose hint another page has taken, is searched for in the interval map: two waits for memory, the
map's leaf and the mapping, which with the search takes about three quarters of the tree's time.`,
    run(programs) {
      const tree = [programs.path("translate"), String(LIVE), String(COUNT), String(TRIES)];
      return alternate(
        programs.long ? 9 : 3,
        () => least(inside("translate", LIVE, COUNT, TRIES).times),
        () => leastOf(tree),
        least,
      );
    },
  },
];
