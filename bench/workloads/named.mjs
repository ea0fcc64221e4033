import { alternate, inside, least, leastOf } from "../lib/measure.mjs";
import { writeSequence } from "../lib/sequences.mjs";

const BASELINE =
  'the quickest that a kernel could be (`bench/c/sequence.c`): for each call a system call that does nothing, and a red-black tree of mappings, or a table of TCEs. It has a system call where we have none: that a model is fast enough to stand behind one is all that this shows; what a program under uvfio sees is "65,535 MAP_DMA against C"';

/** @returns {import("../lib/workload.mjs").Workload} */
function named(sequence, name, measures, explanation) {
  return {
    name,
    measures: `${measures}; the model's own time, by file.ioctl() in this process and without system calls`,
    baseline: BASELINE,
    target: { atMost: 1.5 },
    explanation,
    run(programs) {
      const path = programs.file(sequence);
      const program = programs.path("sequence");
      const calls = writeSequence(sequence, path);
      const backend = sequence === "power" ? "tce" : "type1";
      const compared = alternate(
        programs.long ? 7 : 2,
        () => least(inside("sequence", path, 3, backend).times),
        () => leastOf([program, path, "3"]),
        least,
      );
      return { ...compared, details: `${calls.toLocaleString("en")} calls in one round.` };
    },
  };
}

export const workloads = [
  named(
    "qemu",
    "model: QEMU's start",
    "what QEMU 10.0.13 maps and unmaps from its start to its end (`bench/traces/qemu-start.txt`), a thousand times over",
    "Twenty mappings at most: what a call costs by itself.",
  ),
  named(
    "dpdk",
    "model: DPDK with 4 KiB pages",
    "65,535 mappings of 4 KiB at rising addresses, the limit, and each unmapped again",
    "At rising addresses a new mapping goes behind the last one.",
  ),
  named(
    "spdk",
    "model: SPDK's 512 GiB in 2 MiB mappings",
    "262,144 mappings of 2 MiB with the limit raised, and each unmapped again",
    "As DPDK, four times as many.",
  ),
  named(
    "s390",
    "model: s390's lazy unmapping",
    "500,000 single pages mapped at rising addresses with the limit raised, and all of them taken away by one call",
    "The flush walks the mappings in order.",
  ),
  named(
    "power",
    "model: a POWER guest through a 64K window",
    "64 GiB mapped page by page, 1,048,576 calls, as a guest's H_PUT_TCE reaches the host",
    "A call for each page costs what a call costs; the table itself is a hundredth of it (see the map of 64 GiB by one call).",
  ),
];
