import { inside, least } from "../lib/measure.mjs";
import { once } from "../lib/workload.mjs";

const measure = once(({ long }) => inside("tce", long ? 51 : 15));

function compare(measured, baseline) {
  return (programs) => {
    const results = measure(programs);
    return {
      ratio: least(results[measured]) / least(results[baseline]),
      rounds: results[measured].map((time, i) => time / results[baseline][i]),
    };
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "sPAPR map of 64 GiB",
    measures: "one VFIO_IOMMU_MAP_DMA of 64 GiB of registered memory into a window of 64K pages: 1,048,576 TCEs",
    baseline: "Uint32Array.fill() of as many entries",
    target: { atMost: 3 },
    explanation: `A part of the table, 512 entries, that is full of one run of memory is three numbers; it becomes single entries when something in it
changes. The run is checked against the registered region as a whole.`,
    run: compare("map", "fill"),
  },
  {
    name: "sPAPR clear of a full window",
    measures: "VFIO_IOMMU_UNMAP_DMA of all 64 GiB that one call has mapped",
    baseline: "Uint32Array.fill() of as many entries",
    target: { atMost: 3 },
    explanation: "Parts that are one run go as a whole.",
    run: compare("unmap", "fill"),
  },
  {
    name: "sPAPR clear of a window that is little used",
    measures: "VFIO_IOMMU_UNMAP_DMA of a window of 1,048,576 TCEs, of which one of 625 is mapped, in pieces of 16",
    baseline: "looking at as many entries of a Uint32Array one by one",
    target: { atMost: 0.5 },
    explanation:
      "Parts of the table that hold nothing do not exist, and are passed over in steps of up to 512 parts (test/iommu/tce-table.test.ts).",
    run: compare("unmapSparse", "scan"),
  },
];
