import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { alternate, inside, least, median, mostMemory, times, wallClock } from "../lib/measure.mjs";
import { DEVICE } from "../lib/programs.mjs";

const ROUNDS = { quick: 3, long: 9 };
const CALLS = 15_000;
/** Bytes of the traces that are read. */
const SMALL = 10 << 20;
const LARGE = { quick: 100 << 20, long: 700 << 20 };

/** @returns {import("../lib/workload.mjs").Workload} */
function traced(call, name, explanation) {
  return {
    name,
    measures: "a call of a program under `uvfio run --trace FILE`",
    baseline: "the same call under `uvfio run`",
    target: { atMost: 1.5 },
    explanation,
    run(programs) {
      const options = ["--trace", programs.file("trace.jsonl")];
      const client = programs.calls(call, CALLS, DEVICE);
      return alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => median(times(programs.uvfio(client, { options }))),
        () => median(times(programs.uvfio(client))),
      );
    },
  };
}

/** A trace of a program that maps and unmaps, its calls repeated until the file has so many bytes. */
function traceOf(programs, bytes) {
  const short = programs.file("short.jsonl");
  times(programs.uvfio(programs.calls("map-unmap", 100, DEVICE), { options: ["--trace", short] }));
  const lines = readFileSync(short, "utf8").split("\n");
  const isPair = (line) => line.includes("_MAP_DMA") || line.includes("_UNMAP_DMA");
  const first = lines.findIndex(isPair);
  const last = lines.findLastIndex(isPair);
  const path = programs.file(`trace-${bytes}.jsonl`);
  const fd = openSync(path, "w");
  const write = (part) => writeSync(fd, Buffer.from(`${part.join("\n")}\n`));
  let length = write(lines.slice(0, first));
  const calls = lines.slice(first, last + 1).filter(isPair);
  while (length < bytes) length += write(calls);
  writeSync(fd, lines.slice(last + 1).join("\n"));
  closeSync(fd);
  return path;
}

export const workloads = [
  traced(
    "version",
    "VFIO_GET_API_VERSION, traced",
    "A line of JSON is put together and written, in pieces of 256 KiB.",
  ),
  traced(
    "map-unmap",
    "VFIO_IOMMU_MAP_DMA and UNMAP_DMA of 4 KiB, traced",
    `Two lines. Each structure is read once more than the model reads it, so that the trace has what the call was made with, and its fields
are written by name for people who read the file.`,
  ),
  {
    name: "reading a trace",
    measures: "`uvfio trace --summary` of a file of 100 MiB (700 MiB with --long)",
    baseline: "JSON.parse() of its lines in node, a MiB at a time (`bench/inside/parse-lines.mjs`)",
    target: { atMost: 6 },
    explanation: `It is gone through twice: once to know whether it is whole and which threads it has, once for the calls. Each line is parsed and
checked both times.`,
    run(programs) {
      const path = traceOf(programs, programs.long ? LARGE.long : LARGE.quick);
      return alternate(
        1,
        () => wallClock(programs.command("trace", "--summary", path)),
        () => inside("parse-lines", path).milliseconds,
        least,
      );
    },
  },
  {
    name: "memory for a trace by its size",
    measures: "the most memory of `uvfio trace --summary` of a file of 100 MiB (700 MiB with --long)",
    baseline: "the same of a file of 10 MiB",
    target: { atMost: 1.25 },
    explanation: "One line of a trace is in memory, of any trace.",
    run(programs) {
      const memoryOf = (bytes) => mostMemory(programs.command("trace", "--summary", traceOf(programs, bytes)));
      const ratio = memoryOf(programs.long ? LARGE.long : LARGE.quick) / memoryOf(SMALL);
      return { ratio, rounds: [ratio] };
    },
  },
];
