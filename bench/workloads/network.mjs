import { writeFileSync } from "node:fs";
import { alternate, least, leastOf } from "../lib/measure.mjs";

const ROUNDS = { quick: 3, long: 9 };
/** Rings that are sent in one round, and rounds of the socket. */
const RINGS = { quick: 60, long: 300 };

function workload(bytes, target) {
  return {
    name: `igb, frames of ${bytes} bytes`,
    measures: `a frame from one ring of an 82576 to another, through MAC loopback: 511 at a time, by mapped registers (\`bench/c/igb-frames.c\`)`,
    baseline:
      "a frame from one end of a UNIX datagram socket pair to the other in one process: a system call for each end (`bench/c/socket-frames.c`)",
    target,
    explanation: `The device reads two descriptors and the frame, writes the frame and one descriptor: each is a copy from or to another process. Filters and counters are looked
at for each frame, as in the hardware.`,
    run(programs) {
      writeFileSync(
        programs.file("igb.yaml"),
        `name: bench
iommu: { model: intel-vtd, address_bits: 39 }
groups: [{ id: 1, devices: [{ bdf: "0000:05:00.0", id: "8086:10c9", model: igb }] }]
`,
      );
      const length = programs.long ? "long" : "quick";
      const size = String(bytes);
      const client = [programs.path("igb-frames"), String(RINGS[length]), size];
      const socket = [programs.path("socket-frames"), String(RINGS[length]), size];
      let nanoseconds = Number.POSITIVE_INFINITY;
      const compared = alternate(
        ROUNDS[length],
        () => {
          const time = leastOf(programs.uvfio(client, { host: programs.file("igb.yaml") }));
          nanoseconds = Math.min(nanoseconds, time);
          return time;
        },
        () => leastOf(socket),
        least,
      );
      return { ...compared, details: `${Math.round(1e9 / nanoseconds).toLocaleString("en")} frames a second at best.` };
    },
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [workload(64, { atMost: 8 }), workload(1024, { atMost: 8 })];
