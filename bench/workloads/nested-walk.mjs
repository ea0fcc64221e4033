import { writeFileSync } from "node:fs";
import { alternate, inside, least, leastOf } from "../lib/measure.mjs";

const PAGES = 1_000_000;
const MAPPINGS = 100;
const COUNT = 50_000;
const HOST = `
name: nested-walk
kernel: "6.12"
api: rfc-2017
iommu: { model: intel-vtd-sm, address_bits: 48 }
groups:
  - { id: 3, devices: [{ bdf: 0000:03:00.0, id: "1234:11e8", pasid: true }] }
`;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "nested walks of 1,000,000 pages",
    measures:
      "a device's read of 8 bytes of a random page through a guest's page table of four levels, nested on 100 mappings of the program's: hardly one is in a TLB",
    baseline:
      "the same walk in C (`bench/c/nested-walk.c`): the red-black tree once for each table and for the page, and nothing is remembered",
    target: { atMost: 20 },
    explanation: `Two fifths of the time are accesses to the program's memory: about three entries of the guest's tables and the data, each of which
looks its mapping up twice, for what it allows and for where it is, and copies its bytes to a buffer. A seventh are the caches, which C has
not: hardly a read finds its translation, and each then puts one in and takes another one out, which a seed chooses so that a run can be
repeated. The rest is the walk itself, whose steps are small objects, and their garbage collection.`,
    run(programs) {
      const rounds = programs.long ? 12 : 5;
      const host = programs.file("nested-walk.yaml");
      writeFileSync(host, HOST);
      const numbers = (pages) => [pages, MAPPINGS, COUNT, rounds];
      const ours = (pages) => least(inside("nested-walk", host, ...numbers(pages)).times);
      const tree = (pages) => leastOf([programs.path("nested-walk"), ...numbers(pages).map(String)]);
      const compared = alternate(
        programs.long ? 9 : 3,
        () => ours(PAGES),
        () => tree(PAGES),
        least,
      );
      const row = (pages) => {
        const [here, there] = [ours(pages), tree(pages)];
        return `| ${pages.toLocaleString("en")} | ${(here / 1000).toFixed(2)} | ${(there / 1000).toFixed(2)} | ${(here / there).toFixed(1)} |`;
      };
      const details = [
        "Of so many pages; 512 of them are all in the TLB, which has 1,024 entries:",
        "",
        "| pages | µs a read | µs in C | ratio |",
        "|---|---|---|---|",
        ...[512, 10_000, PAGES].map(row),
      ].join("\n");
      return { ...compared, details };
    },
  },
];
