import { alternate, inside, least, leastOf } from "../lib/measure.mjs";
import { once } from "../lib/workload.mjs";

const BYTES = 2 ** 40 / 4096 / 8;
const COPIES = 8;

const measure = once((programs) => {
  let last;
  const compared = alternate(
    programs.long ? 7 : 3,
    () => {
      last = inside("dirty", 5);
      return least(last.read);
    },
    () => leastOf([programs.path("memcpy"), String(BYTES), String(COPIES), "5"]),
    least,
  );
  return { compared, last };
});

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "dirty bitmap of 1 TiB, 1 % dirty",
    measures:
      "VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP of one mapping of 1 TiB in 4 KiB pages, after a mediated device has written runs of 64 KiB all over it: the bitmap goes to the program and is clean again",
    baseline: "memcpy() of 32 MiB, the bitmap's size",
    target: { atMost: 3 },
    explanation: `Pieces of 16 KiB that have a bit set are copied from where they are, once. They lie wherever they were allocated, and the device has
written them in no order, which is what it costs over a copy in one go; clearing is forgetting them.`,
    run: (programs) => measure(programs).compared,
  },
  {
    name: "memory of a dirty bitmap",
    measures: "bytes taken while 1 % of 1 TiB is dirty, all of it in the first fiftieth of the mapping",
    baseline: "the 32 MiB of the whole bitmap",
    target: { atMost: 0.03 },
    explanation: "Only pieces with a bit set exist: one of 16 KiB for each 512 MiB of the mapping.",
    run(programs) {
      const { clustered, bytes } = measure(programs).last;
      return { ratio: clustered / bytes, rounds: [] };
    },
  },
];
