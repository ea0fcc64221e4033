import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { alternate, least, median, processorTime, wallClock } from "../lib/measure.mjs";

const ROUNDS = { quick: 11, long: 31 };
const PHASE_ROUNDS = 5;
const DEVICE_ROUNDS = { quick: 3, long: 7 };
/** Devices of hosts that are started, four in a group. */
const DEVICES = [10, 100, 1000, 4000];
const NODE = [process.execPath, "-e", "0"];
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

/** A host file with so many devices. */
function hostFile(programs, devices) {
  const lines = ["name: many", 'kernel: "6.12"', "iommu:", "  model: intel-vtd", "groups:"];
  const hex = (number, digits) => number.toString(16).padStart(digits, "0");
  for (let n = 0; n < devices; n++) {
    const group = n >> 2;
    if (n % 4 === 0) lines.push(`  - id: ${group}`, "    devices:");
    const bdf = `${hex(group >> 8, 4)}:${hex(group & 0xff, 2)}:${hex(n & 3, 2)}.0`;
    lines.push(`      - bdf: "${bdf}"`, `        name: NIC ${n}`, '        id: "8086:10d3"');
  }
  const path = programs.file(`host-${devices}.yaml`);
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

/** What a start takes in the least of some rounds, against node's own. */
function startCost({ name, measures, target, explanation, command }) {
  return {
    name,
    measures,
    baseline: "`node -e 0`, in processor time as well",
    target,
    explanation,
    run: (programs) =>
      alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => processorTime(command(programs)),
        () => processorTime(NODE),
        least,
      ),
  };
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  startCost({
    name: "processor time of uvfio --version",
    measures: "processor time of `uvfio --version`",
    target: { atMost: 1.3 },
    explanation:
      "What `--version` and `--help` print is written down when the command is built; nothing else is loaded.",
    command: (programs) => [...programs.uvfio([]).slice(0, 2), "--version"],
  }),
  startCost({
    name: "processor time of uvfio run -- true",
    measures: "processor time of `uvfio run -- true`, all its processes together",
    target: { atMost: 2 },
    explanation: `node's own start is one unit of it, and it is the only node. Where the rest goes, found by ending a start at one point after the
other: the modules' text and V8's code of them are read, 0.07; V8 takes that code, 0.09; 190 modules begin and the host is built, 0.22; koffi's native module and
the launcher's start, 0.11; namespaces, mounts and files are written down and /sys is served meanwhile, 0.35, of which V8 collects garbage for 0.1; the filter, what
serves, and the guard, 0.12; the launcher makes 280 mounts and what is mounted on, and the program runs, 0.2; the mounts go with the guard, 0.1; node's end, 0.05.
That makes 2.3, and 0.07 more where V8's code was kept by a program that used much of VFIO: what it gains from that is four times as much. No part
is dear by itself any more. A snapshot of V8 does not help, because node takes one by an option only and so would have to start twice; nor do options of V8 that
spare the garbage, because the part of node that sets them takes as long. Each entry beside ours in /dev, /sys/module and three more directories is
a mount, because nothing else shows it unchanged. Modules are loaded when something of them is first used, and those that a run uses lie together
(\`scripts/joined/\`).`,
    command: (programs) => programs.uvfio(["true"]),
  }),
  {
    name: "start of a host with 4,000 devices",
    measures: "processor time of `uvfio run -m FILE -- true` with 1,000 groups of four devices",
    baseline: "the same with 10 devices",
    target: { atMost: 3 },
    explanation: `Devices are made when a program first looks at them. What is left is the file: reading YAML, checking it, and going through all devices
a few times; then a node for each group, and a mount for each of the thousand root buses that this host has. V8 optimizes nothing meanwhile
(\`scripts/start/later.mjs\`): it would take more time beside the start than it saves in it.`,
    run(programs) {
      const rounds = programs.long ? DEVICE_ROUNDS.long : DEVICE_ROUNDS.quick;
      const files = new Map(DEVICES.map((devices) => [devices, hostFile(programs, devices)]));
      const time = (devices) => processorTime(programs.uvfio(["true"], { host: files.get(devices) }));
      for (const devices of DEVICES) time(devices);
      const units = [];
      const compared = alternate(
        rounds,
        () => time(4000),
        () => {
          units.push(processorTime(NODE));
          return time(10);
        },
        least,
      );
      const lines = DEVICES.map((devices) => {
        const taken = least(Array.from({ length: rounds }, () => time(devices)));
        return `| ${devices.toLocaleString("en")} | ${(taken / least(units)).toFixed(1)} |`;
      });
      return { ...compared, details: ["| devices | node -e 0 |", "| --- | --- |", ...lines].join("\n") };
    },
  },
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
