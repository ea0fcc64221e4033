import { alternate, median, times } from "../lib/measure.mjs";

const ROUNDS = { quick: 3, long: 9 };
const CALLS = 100_000;

const FILTER =
  "the same program under the best filter in C (`bench/c/supervisor.c`), which has seven instructions and looks at ioctls only";

/**
 * @param atMost what may be paid on top of the least that a filter costs
 * @param baseline what that is, with the supervisor's options
 * @returns {import("../lib/workload.mjs").Workload}
 */
function untrapped(call, name, atMost, explanation, { baseline = FILTER, options } = {}) {
  return {
    name,
    measures: "a call that stays the kernel's, of a program that runs under uvfio",
    baseline,
    target: { atMost },
    explanation,
    run(programs) {
      const rounds = programs.long ? ROUNDS.long : ROUNDS.quick;
      const client = programs.calls(call, CALLS);
      const middle = (command) => median(times(command));
      const ours = () => middle(programs.uvfio(client));
      const compared = alternate(rounds, ours, () => middle(programs.supervisor(client, options)));
      const alone = alternate(rounds, ours, () => middle(client));
      return { ...compared, details: `Against the program alone, without a filter: ${alone.ratio.toFixed(2)}.` };
    },
  };
}

export const workloads = [
  untrapped(
    "ioctl",
    "ioctl on /dev/null",
    1.1,
    `The kernel must run the filter for it, because the answer depends on the request number; it takes the shortest way through, eight
instructions.`,
  ),
  untrapped(
    "read",
    "read of one byte",
    1.2,
    `The kernel must run the filter here too, because the answer depends on the descriptor's number: devices have numbers of their own, and
programs read some (an iommufd's fault queue, a device at its position). It is the shortest way through, seven instructions.`,
  ),
  untrapped(
    "getppid",
    "getppid",
    1.1,
    `The kernel knows from the filter's installation on that it is always allowed, and does not run the filter: what is left is the entry into
seccomp, a few nanoseconds, beside the cheapest call there is.`,
  ),
  untrapped(
    "pread",
    "pread of 8 bytes of a file",
    1.5,
    `A filter knows a file only by its number, and a device's registers are read like this, of any number: a copy that dup() or a socket
made has one that nobody can foresee. To follow the copies does not help: dup2() and fcntl(F_DUPFD) give the number that the program wants,
and a filter that is installed cannot be changed, nor look into a table. So every pread of at most 8 bytes is asked about, and let go; longer
ones are not. So does the baseline: no filter that serves registers can do without. What a program pays for it, stands below.`,
    {
      baseline:
        "the same program under a C supervisor that is asked about each such pread too, finds the file, and lets it go (`bench/c/supervisor.c --registers`)",
      options: ["--registers"],
    },
  ),
  untrapped(
    "lseek",
    "lseek on a file",
    1.2,
    "As read: only descriptors with the numbers that devices have are asked about. A copy of a device answers lseek, where it should not (docs/interposer.md).",
  ),
  untrapped(
    "open",
    "open for reading and close",
    1.2,
    "The filter looks at the flags; only opens for reading and writing are trapped.",
  ),
];
