import { inside, least } from "../lib/measure.mjs";
import { once } from "../lib/workload.mjs";

const MANY = 1_000_000;
const FEW = 1000;
/** For a mapping, everything counted. */
const BYTES = 128;

const measure = once(({ long }) => ({
  many: inside("many", MANY, long ? 7 : 4),
  few: inside("many", FEW, long ? 15 : 9),
}));

/** What a call costs with a million mappings and with a thousand. */
function growth(call) {
  return (programs) => {
    const { many, few } = measure(programs);
    const base = least(few[call]);
    const rounds = Array.from({ length: many.make.length }, (_, round) => {
      const batches = many[call].length / many.make.length;
      return least(many[call].slice(round * batches, (round + 1) * batches)) / base;
    });
    return { ratio: least(many[call]) / base, rounds };
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "UNMAP_DMA of a million mappings",
    measures: "one call with VFIO_DMA_UNMAP_FLAG_ALL that takes 1,000,000 mappings away",
    baseline: "making them, one by one",
    target: { atMost: 0.2 },
    explanation: `The mappings are walked once in order, each gives its pin and its charge back, and then the tables are emptied as a whole: nothing is
searched for and nothing is moved. Making them at rising addresses needs no search either, which leaves little to be faster than: the nearest
figure is 0.17, a quarter as a rule. What the walk takes is reading each mapping's words and its pin.`,
    run(programs) {
      const { unmapAll, make } = measure(programs).many;
      return { ratio: least(unmapAll) / least(make), rounds: unmapAll.map((time, i) => time / make[i]) };
    },
  },
  {
    name: "memory of a type1 mapping",
    measures:
      "what V8's heap and typed arrays grow by while 1,000,000 mappings of a page are made, for each of them: map, slot and pin",
    baseline: "128 bytes",
    target: { atMost: 1 },
    explanation:
      "A slot and a pin are 16 bytes each; what is free for the next ones and the interval map are the rest.",
    run(programs) {
      const { bytes } = measure(programs).many;
      return { ratio: bytes[0] / BYTES, rounds: [] };
    },
  },
  {
    name: "GET_INFO with a million mappings",
    measures: "VFIO_IOMMU_GET_INFO with 1,000,000 mappings",
    baseline: "the same with 1000",
    target: { atMost: 1.5 },
    explanation:
      "It looks at no mapping: the number that can still be made is a subtraction. A test counts that (test/vfio/type1/scale.test.ts).",
    run: growth("info"),
  },
  {
    name: "attach with a million mappings",
    measures:
      "a second group into a container with 1,000,000 mappings and out again (VFIO_GROUP_SET_CONTAINER and UNSET_CONTAINER)",
    baseline: "the same with 1000",
    target: { atMost: 2 },
    explanation: `Two lookups for the aperture and one for each reserved region say whether a mapping is in the way; each takes a number of steps that is
the logarithm of the mappings, of which 2 is the ratio here. A test counts the lookups (test/vfio/type1/scale.test.ts).`,
    run: growth("attach"),
  },
];
