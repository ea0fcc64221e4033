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
    explanation: `The interval map answers which mapping it is; its state and its first user page are one more line of the processor's cache. Of the time
(\`node --cpu-prof bench/inside/translate.mjs 100000 1000000 5\`) nine tenths are the descent through the map and the two waits for memory at a
random place, the map's leaf and the mapping. The tree in C waits more often, but its upper levels stay in the caches, and at 100,000
mappings much of the lower ones too; the more mappings, the better the ratio gets for the map (see lookups among 1,000,000 runs).`,
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
