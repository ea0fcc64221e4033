import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { alternate, median, wallClock } from "../lib/measure.mjs";

const ROUNDS = { quick: 11, long: 31 };
const PHASE_ROUNDS = 5;
const PROBE = fileURLToPath(new URL("../start-probe.cjs", import.meta.url));

/** What happens between two events that the probe notes. */
const PHASES = [
  ["node boots", "start", "main"],
  ["the command's code is read, koffi is loaded", "main", "koffi"],
  ["its modules run, the host is built", "koffi", "launcher"],
  ["the launcher is started", "launcher", "namespaces"],
  ["namespaces and mounts, while files are written down", "namespaces", "files"],
  ["files are made", "files", "filter"],
  ["filter, listener, and what serves is made", "filter", "execve"],
  ["execve, the program's loader", "execve", "program"],
  ["the program's end, the last close", "program", "exit"],
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
    explanation: `One boot of node is the first unit. What becomes the program is a launcher of a few hundred bytes that makes the system
calls that it is sent, so that there is no second boot, and the thread that boots also serves; the modules are one file with compiled
code (\`scripts/join-modules.mjs\`), because node takes longer to find, read and compile two hundred modules than for all the rest; mounts are made while
the rest is still written down. What is left is koffi's native module, a few hundred mounts, and the host. The first run compiles the modules, for
about half a unit, and keeps that in the user's cache (\`scripts/start/code-cache.mjs\`); where none can be kept, so does each run.`,
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
