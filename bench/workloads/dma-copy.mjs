import { alternate, median, times } from "../lib/measure.mjs";
import { DMA_ENGINE } from "../lib/programs.mjs";

const ROUNDS = 5;
/** Copies of 64 MiB in one run. */
const COPIES = 8;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "copies by the ioat DMA engine",
    measures:
      "bytes a second: chains of descriptors of 1 MiB, started and watched through mapped registers (`bench/c/ioat-copy.c`)",
    baseline: "bytes a second of process_vm_readv and process_vm_writev between two processes, in the same pieces",
    target: { atLeast: 0.5 },
    explanation: `Pieces of 32 KiB and more move with process_vm_readv and process_vm_writev straight between the program and the device model's
buffer. Smaller ones, and what the program has protected from itself since it was mapped, go through /proc/PID/mem, which copies each page
twice. A doorbell in mapped registers is seen when the host looks next, at most 200 microseconds later while the device works.`,
    run(programs) {
      const speed = (command) => 1 / median(times(command));
      return alternate(
        ROUNDS,
        () => speed(programs.uvfio([programs.path("ioat-copy"), String(COPIES), DMA_ENGINE], { host: "lab" })),
        () => speed([programs.path("process-copy"), String(COPIES)]),
      );
    },
  },
];
