import { inside, insideWith, least } from "../lib/measure.mjs";

const LIVE = 100_000;
const BYTES_PER_OBJECT = 16;
/** Half a gigabyte for what is new: so nothing is collected meanwhile, and the heap's growth is all that was allocated. */
const ROOM = ["--min-semi-space-size=512", "--max-semi-space-size=512"];

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "MAP_DMA and UNMAP_DMA in this process, 100,000 live",
    measures:
      "a page mapped and another unmapped, at random places among 100,000: file.ioctl() with structures in the program's memory, which are copied in and out, checked, and the pages pinned, charged and let go",
    baseline: "the same places in the bare interval map: is it free, put it in, find the other, take it out",
    target: { atMost: 2 },
    explanation: `A mapping is 16 bytes beside the interval map, in one line of the processor's cache; its pin is a run of pages in another array. Structures
are copied as 32-bit words, because for 32 bytes a view of the buffer costs more than the copy. An unmap that names one mapping looks it up
once: it begins where it should when the mapping found begins there, and ends where it should when that ends there.

Where the time of the calls goes (\`perf\` on \`bench/inside/pairs.mjs 100000 40000 100\`, the bare rounds left out): more than a third into the interval map,
which is all that the bare pair has; an eighth waits for one line of memory, the slot of the mapping that goes away; a tenth copies structures in
and out and reads their fields; a tenth is the program's side, which chooses places as the bare pair does and writes structures; the rest are the
checks, finding, holding and letting go the program's pages, and the way through container and backend, a few instructions in some twenty
functions. With a thousand mappings, where nothing waits for memory, the calls take 3.3 times as long as the bare pair: so it is mostly the
number of instructions, and no one thing is left to take away. The nearest figure reached is 2.0, and 2.2 to 2.5 as a rule: what
disturbs the caches costs the calls more than the pair. With the interval map of sorted chunks that was here before the calls took 1.9 times as
long as its pair: they have become faster since, but less so than the map.`,
    run({ long }) {
      const { bare, ioctls } = inside("pairs", LIVE, 40_000, long ? 301 : 41);
      return { ratio: least(ioctls) / least(bare), rounds: ioctls.map((time, i) => time / bare[i]) };
    },
  },
  {
    name: "garbage of MAP_DMA and UNMAP_DMA",
    measures:
      "how much V8's heap grows over three million pairs of calls among 100,000 mappings (ten million with --long)",
    baseline: "what it would grow by if each call made one object of 16 bytes, the smallest there is",
    target: { atMost: 0.01 },
    explanation: `Nothing is allocated for a call: addresses travel as page numbers that are small integers to V8, 64-bit fields as two halves, structures
are read in place. What growth there is comes from V8 itself, which compiles in the background: it does not grow with the number of pairs.`,
    run({ long }) {
      const pairs = long ? 10_000_000 : 3_000_000;
      const { heap, collections } = insideWith(ROOM, "garbage", LIVE, pairs);
      return {
        ratio: Math.max(0, heap) / (2 * pairs * BYTES_PER_OBJECT),
        rounds: [],
        details: `Garbage collections during ${pairs.toLocaleString("en")} pairs: ${collections}.`,
      };
    },
  },
];
