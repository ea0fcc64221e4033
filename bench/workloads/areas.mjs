import { inside, least } from "../lib/measure.mjs";
import { once } from "../lib/workload.mjs";

const MANY = 1_000_000;
const FEW = 10_000;
const PAIRS = 100_000;

/** By kind, in turn: with random pairs, and without, so that what goes at the end was made in order. */
const measure = once(({ long }) => {
  const rounds = long ? 6 : 3;
  const run = (kind, live, pairs) => inside("areas", kind, live, pairs, rounds);
  const kinds = Object.fromEntries(["type1", "ioas", "bytes"].map((kind) => [kind, run(kind, MANY, PAIRS)]));
  return { ...kinds, ordered: run("ioas", MANY, 0), choice: run("choice", MANY, PAIRS), few: run("choice", FEW, FEW) };
});

function against(kind, call) {
  return (programs) => {
    const { [kind]: ours, type1 } = measure(programs);
    return {
      ratio: least(ours[call]) / least(type1[call]),
      rounds: ours[call].map((time, i) => time / type1[call][i]),
    };
  };
}

const BASELINE = "the same calls of type1, with as many mappings (VFIO_IOMMU_MAP_DMA, UNMAP_DMA)";
const KEPT = `An area whose memory no other shows is 16 bytes in a typed array beside the interval map that type1 has
(\`src/iommufd/memory/area-table.ts\`), by the byte instead of the page. Its addresses are numbers, not bigints, from the
structure to the map. What is odd about a request, or refused, goes the long way, which has the kernel's checks in the kernel's order.`;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "IOMMU_IOAS_MAP among a million areas",
    measures:
      "1,000,000 pages mapped at rising addresses, with a device attached: file.ioctl(), the pages pinned and charged",
    baseline: BASELINE,
    target: { atMost: 2 },
    explanation: KEPT,
    run: against("ioas", "make"),
  },
  {
    name: "IOMMU_IOAS_MAP of bytes among a million areas",
    measures: "the same without a device, of 2748 bytes each that neither begin nor end with a page: nothing is pinned",
    baseline: BASELINE,
    target: { atMost: 2 },
    explanation: "The interval map does not care what it counts: addresses below 2^53 are its keys as they are.",
    run: against("bytes", "make"),
  },
  {
    name: "unmap and map at random among a million areas",
    measures: "IOMMU_IOAS_UNMAP of one of 1,000,000 areas and IOMMU_IOAS_MAP of another, with a device attached",
    baseline: BASELINE,
    target: { atMost: 2 },
    explanation: `What is waited for is memory, as of type1: the leaf of the interval map, the area's 16 bytes, the pin. Beside that the map keeps
a bound of the holes in each leaf.`,
    run: against("ioas", "pair"),
  },
  {
    name: "memory of an area",
    measures: "what V8's heap and typed arrays grow by while 1,000,000 areas of a page are made, for each of them",
    baseline: "the same of a type1 mapping, in the same run",
    target: { atMost: 3 },
    explanation: "Only areas that share their memory with others, or that a driver holds pages of, have objects.",
    run(programs) {
      const { ioas, type1 } = measure(programs);
      return { ratio: ioas.bytes[0] / type1.bytes[0], rounds: [] };
    },
  },
  {
    name: "IOMMU_IOAS_UNMAP of a million areas",
    measures: "one call that takes 1,000,000 areas away",
    baseline: "making them, one by one",
    target: { atMost: 0.2 },
    explanation: `Each gives its pin back and leaves the map; what was charged is given back in one for many. Unlike type1's call it goes in steps, between
which others make calls: so nothing can be thrown away as a whole.`,
    run(programs) {
      const { unmapAll, make } = measure(programs).ordered;
      return { ratio: least(unmapAll) / least(make), rounds: unmapAll.map((time, i) => time / make[i]) };
    },
  },
  {
    name: "choice of an IOVA among a million areas",
    measures: "IOMMU_IOAS_MAP without FIXED_IOVA, 1,000,000 times, with a device attached",
    baseline: "the same 10,000 times",
    target: { atMost: 2 },
    explanation: `The lowest hole that is large enough is found by bounds: each leaf of the interval map, each inner node and each 64 of those know that no
hole in them is larger than so much. A test counts the steps (test/iommufd/areas.test.ts).`,
    run(programs) {
      const { choice, few } = measure(programs);
      return { ratio: least(choice.make) / least(few.make), rounds: [] };
    },
  },
];
