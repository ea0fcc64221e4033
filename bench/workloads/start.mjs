import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { alternate, median, wallClock } from "../lib/measure.mjs";

const ROUNDS = { quick: 11, long: 31 };
const PHASE_ROUNDS = 5;
const PROBE = fileURLToPath(new URL("../start-probe.cjs", import.meta.url));

/** What happens between two events that the probe notes. The launcher and the thread boot at the same time. */
const PHASES = [
  ["node boots", "start", "main"],
  ["main: its modules, the serving thread made", "main", "spawn"],
  ["launcher: fork, node boots", "spawn", "launcher"],
  ["launcher: its modules, koffi", "launcher", "launcher-ready"],
  ["thread: boots, beside the launcher", "spawn", "thread"],
  ["thread: its modules, the host and its tree of files", "thread", "host"],
  ["launcher: tree, mounts and filter, from when it and the host are ready", ["launcher-ready", "host"], "filter"],
  ["the listener handed over, execve, the program's loader", "filter", "program"],
  ["the program's end, the last close, main ends", "program", "exit"],
  ["node's own exit", "exit", "end"],
];

/** Milliseconds of each phase of one run. */
function phasesOf(programs) {
  const events = programs.file("events");
  rmSync(events, { force: true });
  const [node, ...args] = programs.uvfio([programs.path("started")]);
  const at = new Map([["start", performance.timeOrigin + performance.now()]]);
  wallClock([node, "--require", PROBE, ...args], { BENCH_EVENTS: events });
  at.set("end", performance.timeOrigin + performance.now());
  for (const line of readFileSync(events, "utf8").trim().split("\n")) {
    const [event, time] = line.split(" ");
    at.set(event, Number(time));
  }
  const time = (event) => Math.max(...[event].flat().map((each) => at.get(each)));
  return PHASES.map(([, from, to]) => time(to) - time(from));
}

/** Each phase as a multiple of `node -e 0`. */
function phaseTable(programs, unit) {
  const runs = Array.from({ length: PHASE_ROUNDS }, () => phasesOf(programs));
  const lines = PHASES.map(([name], i) => `| ${name} | ${(median(runs.map((run) => run[i])) / unit).toFixed(2)} |`);
  return ["| phase | node -e 0 |", "| --- | --- |", ...lines].join("\n");
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "uvfio run -- true",
    measures: "from the start of `uvfio run -- true` to its end",
    baseline:
      "`node -e 0`; both without variables that make node itself slow to start, as NODE_OPTIONS and NODE_EXTRA_CA_CERTS do",
    target: { atMost: 3 },
    explanation: `Not to be had with this design: two boots of node come one after the other, because the process that becomes the program
has to put the filter on itself and must be another one than the one that serves it, and two boots leave one unit for all the rest. Beside the second
boot a thread boots, loads the model and builds the host; on a machine with fewer than two idle processors that is not beside but behind it, and
the ratio nears that of the processor time. Nothing in it is large: V8 sets up three heaps and compiles, koffi is loaded twice, a few
hundred mounts are made. What was done: main starts the thread and the launcher before it reads its command line; the modules of each
are joined into few files at build time (\`scripts/join-modules.mjs\`), because node takes longer to find and read two hundred modules than to
compile them; the thread loads what makes system calls while the launcher makes the tree; a command line without options is not parsed.`,
    run(programs) {
      const units = [];
      const compared = alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => wallClock(programs.uvfio(["true"])),
        () => {
          units.push(wallClock([process.execPath, "-e", "0"]));
          return units.at(-1);
        },
      );
      const note =
        "Phases of one start, in multiples of `node -e 0`; what notes them takes time as well, so they add up to more than the ratio:";
      return { ...compared, details: `${note}\n\n${phaseTable(programs, median(units))}` };
    },
  },
];
