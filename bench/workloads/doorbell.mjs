import { alternate, median, quantile, times } from "../lib/measure.mjs";
import { DMA_ENGINE } from "../lib/programs.mjs";

const ROUNDS = { quick: 3, long: 9 };
const COUNT = 2000;
const SHARES = [0.5, 0.9, 0.99];

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "doorbell to completion of a small copy",
    measures:
      "from the write of a mapped register of the ioat DMA engine to the end of the copy of 64 bytes that it starts, seen in another one (`bench/c/doorbell.c`)",
    baseline:
      "a device in C behind userfaultfd: another process hears of the write, lets it happen, copies in the program's memory, and says so in a page that both have",
    target: { atMost: 2 },
    explanation: `A write stops its thread until the process that serves it has been woken and has let it go on: two changes of context on both sides,
and no looking in between. What is ours: a descriptor that is read and checked, a copy through the IOMMU's mappings, and registers that are shown
before and after it. One doorbell in a hundred takes milliseconds on both sides: the writer looks at the status all the time, and when the kernel wakes
the other process on the same processor, it waits for the end of the writer's turn.`,
    run(programs) {
      const client = [programs.path("doorbell"), String(COUNT)];
      const ours = [];
      const theirs = [];
      const measured = (command, into) => {
        const round = times(command);
        into.push(...round);
        return median(round);
      };
      const compared = alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => measured(programs.uvfio([...client, DMA_ENGINE], { host: "lab" }), ours),
        () => measured(client, theirs),
      );
      const row = (name, all) =>
        `| ${[name, ...SHARES.map((share) => (quantile(all, share) / 1000).toFixed(0))].join(" | ")} |`;
      const heads = SHARES.map((share) => `${share * 100} % within`);
      const details = [
        `| microseconds | ${heads.join(" | ")} |`,
        `| --- | ${SHARES.map(() => "---").join(" | ")} |`,
        row("uvfio", ours),
        row("in C", theirs),
      ].join("\n");
      return { ...compared, details };
    },
  },
];
