import { inside } from "../lib/measure.mjs";

const LIMIT_NANOSECONDS = 120e9;

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  {
    name: "replay of all recordings",
    measures:
      "all scenarios in test/recordings replayed and compared, in one process, each on a host of its own: hosts are booted, texts parsed, V8 compiles",
    baseline: "two minutes, in which the whole test suite is to be done",
    target: { atMost: 0.25 },
    explanation: "The largest part is booting two thousand hosts; some recordings fill a container to its limit.",
    run() {
      const { time, parse, scenarios, calls, different } = inside("replay");
      if (different > 0) throw new Error(`${different} answers differ from the recordings`);
      const perSecond = Math.round(scenarios / (time / 1e9));
      return {
        ratio: time / LIMIT_NANOSECONDS,
        rounds: [],
        details: `${scenarios.toLocaleString("en")} scenarios with ${calls.toLocaleString("en")} calls, about ${perSecond} scenarios a second on the machine that wrote this page; ${(time / parse).toFixed(0)} times as long as JSON.parse() of their lines takes.`,
      };
    },
  },
];
