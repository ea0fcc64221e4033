import { alternate, inside, least, leastOf, median, times } from "../lib/measure.mjs";
import { DMA_ENGINE } from "../lib/programs.mjs";

const ROUNDS = { quick: 3, long: 9 };
/** Copies of 64 MiB in one run. */
const COPIES = 8;

const KIB = 1024;
/** Bytes that one round copies. */
const BYTES = 256 * KIB * KIB;

/** @returns {import("../lib/workload.mjs").Workload} */
function inProcess(size, label, kind, where) {
  return {
    name: `DMA of ${label} in this process, ${where}`,
    measures: `bytes a second that a device reads from and writes to a program's memory, ${label} at a time, through a mapping`,
    baseline: "bytes a second of memcpy() back and forth between two buffers of that size (`bench/c/memcpy.c`)",
    target: { atLeast: 0.7 },
    explanation:
      kind === "buffer"
        ? "One lookup, one copy. What is lost goes into the lookup, whose address is a bigint because a device's registers are 64 bits wide."
        : "Memory of the model exists in pieces of 64 KiB once something was written to them, so that such a copy is one move, or two.",
    run(programs) {
      const count = BYTES / size;
      const speed = (time) => 1 / time;
      const compared = alternate(
        programs.long ? 9 : 3,
        () => speed(least(inside("copy", 3, count, size)[kind][size])),
        () => speed(leastOf([programs.path("memcpy"), String(size), String(count), "3"])),
        (speeds) => Math.max(...speeds),
      );
      return compared;
    },
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  inProcess(64 * KIB, "64 KiB", "buffer", "a buffer"),
  inProcess(64 * KIB, "64 KiB", "pages", "pages"),
  inProcess(KIB * KIB, "1 MiB", "buffer", "a buffer"),
  inProcess(KIB * KIB, "1 MiB", "pages", "pages"),
  {
    name: "copies by the ioat DMA engine",
    measures:
      "bytes a second: chains of descriptors of 1 MiB, started and watched through mapped registers (`bench/c/ioat-copy.c`)",
    baseline: "bytes a second of process_vm_readv and process_vm_writev between two processes, in the same pieces",
    target: { atLeast: 0.65 },
    explanation: `All pieces move through /proc/PID/mem, which is the memory itself and can never be another program's; it copies each page
twice, where process_vm_readv and process_vm_writev, which go by a process' number, copy once. A write to a doorbell stops the program's thread until
uvfio has let it go on (userfaultfd), so that no copy waits for somebody to look.`,
    run(programs) {
      const speed = (command) => 1 / median(times(command));
      return alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => speed(programs.uvfio([programs.path("ioat-copy"), String(COPIES), DMA_ENGINE], { host: "lab" })),
        () => speed([programs.path("process-copy"), String(COPIES)]),
      );
    },
  },
];
