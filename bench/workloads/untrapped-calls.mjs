import { alternate, median, times } from "../lib/measure.mjs";

const ROUNDS = { quick: 3, long: 9 };
const CALLS = 100_000;

/** @returns {import("../lib/workload.mjs").Workload} */
function untrapped(call, name, explanation) {
  return {
    name,
    measures: "a call that stays the kernel's, of a program that runs under uvfio",
    baseline: "the same program alone",
    target: { atMost: 1.1 },
    explanation,
    run(programs) {
      const rounds = programs.long ? ROUNDS.long : ROUNDS.quick;
      const client = programs.calls(call, CALLS);
      const middle = (command) => median(times(command));
      const compared = alternate(
        rounds,
        () => middle(programs.uvfio(client)),
        () => middle(client),
      );
      const filter = alternate(
        rounds,
        () => middle(programs.supervisor(client)),
        () => middle(client),
      );
      return {
        ...compared,
        details: `Under the C supervisor, whose filter has seven instructions: ${filter.ratio.toFixed(2)}.`,
      };
    },
  };
}

export const workloads = [
  untrapped(
    "ioctl",
    "ioctl on /dev/null",
    `The kernel must run the filter for it, because the answer depends on the request number; it takes the shortest way through, eight
instructions. What remains is what seccomp itself takes of a call that does nothing: under the supervisor in C, with a filter as short as
can be, it is the same.`,
  ),
  untrapped(
    "read",
    "read of one byte",
    `The kernel must run the filter here too, because the answer depends on the descriptor's number: devices have numbers of their own, and
programs read some (an iommufd's fault queue, a device at its position). It is the shortest way through, seven instructions.`,
  ),
  untrapped(
    "getppid",
    "getppid",
    `The kernel knows from the filter's installation on that it is always allowed, and does not run the filter: what is left is the entry into
seccomp, a few nanoseconds, beside the cheapest call there is.`,
  ),
  untrapped(
    "open",
    "open for reading and close",
    "The filter looks at the flags; only opens for reading and writing are trapped.",
  ),
];
