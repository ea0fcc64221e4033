import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { parseOperations } from "../../../src/inspect/replay/recorded-calls.ts";
import { surveyOf } from "../../../src/inspect/replay/recording-facts.ts";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { PLAIN, TracePrinter } from "../../../src/inspect/trace/print.ts";
import { Recorder } from "../../../src/inspect/trace/recorder.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { loadHost } from "../../../src/machine/load-host.ts";
import { amount } from "../../amount.ts";
import { RandomCaller } from "./random-caller.ts";

/** UVFIO_SEED repeats one seed; UVFIO_STEPS makes runs longer. */
const SEEDS = process.env.UVFIO_SEED ? [Number(process.env.UVFIO_SEED)] : [1, 2, 3, 4];
const STEPS = amount("UVFIO_STEPS", 1000, 3000);

function tracedCalls(description: HostDescription, seed: number) {
  const lines: string[] = [];
  const recorder = new Recorder({
    pageSize: description.pageSize,
    encoding: description.arch === "ppc64le" ? "powerpc" : "plain",
    write: (line) => lines.push(JSON.stringify(line)),
  });
  const host = new Host(description, { watch: recorder.model });
  const broken: string[] = [];
  watchKernel(host, [recorder], (message) => broken.push(message));
  // two processes at the same addresses, which have nothing in common
  const callers = [new RandomCaller(host, seed), new RandomCaller(host, seed + 1_000_000)];
  for (let step = 0; step < STEPS; step++) callers[step % 7 < 5 ? 0 : 1]!.step();
  for (const caller of callers) caller.end();
  recorder.end();
  return { lines, broken };
}

describe.each([
  ["lab", {}],
  ["lab-nesting", {}],
  ["pseries", {}],
  ["power9", {}],
  ["test/programs/vsva.yaml", { api: "vsva-v1" }],
  ["test/programs/vsva.yaml", { api: "vsva-v1", kernel: "5.9" }],
  ["test/programs/vsva.yaml", { api: "vsva-v7" }],
  ["test/programs/vsva.yaml", { api: "rfc-2017" }],
])("a trace of random calls on %s %j", (name, options) => {
  test.each(SEEDS)("replays with equal answers and prints (seed %i)", async (seed) => {
    const description = await loadHost(name, options);
    const { lines, broken } = tracedCalls(description, seed);
    expect(broken).toEqual([]);
    const operations = parseOperations(lines.join("\n"), "trace");
    const { different, calls } = replay(description, operations);
    const first = different[0];
    const shown = first && { ...first, operation: undefined, json: lines[first.line - 1]?.slice(0, 1500) };
    expect([different.length, shown], `seed ${seed}: UVFIO_SEED=${seed}`).toEqual([0, undefined]);
    expect(calls).toBeGreaterThan(STEPS / 3);
    const printer = new TracePrinter(PLAIN, surveyOf(operations));
    const printed = operations.flatMap((operation) => printer.line(operation) ?? []);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may come through
    expect(printed.filter((line) => /[\u0000-\u0009\u000b-\u001f]|undefined|NaN|\[object/.test(line))).toEqual([]);
  });
});
