import { describe, expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import type { Operation } from "../../src/inspect/replay/operation.ts";
import { parseOperations } from "../../src/inspect/replay/recorded-calls.ts";
import { RecordingError } from "../../src/inspect/replay/recording-error.ts";
import { surveyOf } from "../../src/inspect/replay/recording-facts.ts";
import { replay } from "../../src/inspect/replay/replay.ts";
import { PLAIN, TracePrinter } from "../../src/inspect/trace/print.ts";
import { Recorder } from "../../src/inspect/trace/recorder.ts";
import { summarize, summaryLines } from "../../src/inspect/trace/summary.ts";
import { watchKernel } from "../../src/inspect/watch/watch-kernel.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { lab } from "../../src/machine/hosts/lab.ts";
import { amount } from "../amount.ts";
import { readBundle } from "../recordings/bundle.ts";
import { RandomCaller, sequence } from "./trace/random-caller.ts";

/** UVFIO_SEED begins elsewhere; UVFIO_STEPS makes more mutants. */
const SEED = Number(process.env.UVFIO_SEED ?? 1);
const MUTANTS = amount("UVFIO_STEPS", 150, 1000);
/** The longest line that is printed, with a margin for who made the call. */
const LINE_MAX = 8300;

type Random = ReturnType<typeof sequence>;

function tracedLines(): string[] {
  const lines = [JSON.stringify({ op: "host", version: 1, name: "lab", machine: "lab", kernel: "6.12", argv: ["x"] })];
  const recorder = new Recorder({
    pageSize: lab.pageSize,
    encoding: "plain",
    write: (line) => lines.push(JSON.stringify(line)),
  });
  const host = new Host(lab, { watch: recorder.model, onWarning: (message) => recorder.note(message) });
  watchKernel(host, [recorder]);
  const caller = new RandomCaller(host, 7);
  for (let step = 0; step < 150; step++) caller.step();
  caller.end();
  recorder.end();
  // what passes between calls only makes the test slow
  return lines.filter((line) => !line.startsWith('{"op":"wait"'));
}

/** Scenarios that have every operation between them. */
const SCENARIOS = {
  "intel39-k72fd":
    /^(map_readonly_struct|map_shm|fd_map_file|limit_entries_small|d_read_write_no_off|g_sibling_unbound|dma_copy|d_bar_mmap|map_efault|d_set_irqs_err_req|c_dup_fd)$/,
  "pseries-6.12-64k": /^(a13_other_process|c03_enable_memlock|f12_hugepage_16M|x02_map_past_end_v2)$/,
};

function recorded(machine: keyof typeof SCENARIOS) {
  const { host, scenarios } = readBundle(machine);
  const chosen = scenarios.filter(({ name }) => SCENARIOS[machine].test(name));
  return { host, files: chosen.map(({ operations }) => operations().map((operation) => JSON.stringify(operation))) };
}

const HUGE = [
  2 ** 60,
  2 ** 53,
  1e308,
  -1,
  -(2 ** 60),
  0.5,
  2 ** 31,
  2 ** 40,
  "0xffffffffffffffff",
  "0x10000000000000000",
  "-0x1",
  "1e9",
  "99999999999999999999",
];
const TYPES = [
  null,
  true,
  [],
  {},
  "",
  "x",
  "\u001b[2J\u0007\u009b31m\r\nx",
  [[[[[[[[[[[[1]]]]]]]]]]]],
  { a: { b: { c: {} } } },
  "__proto__",
  "constructor",
  "A".repeat(70_000),
  "0".repeat(5_000),
];

/** One line with one field of another value. */
function changedField(random: Random, line: string): string {
  const fields = JSON.parse(line) as Record<string, unknown>;
  const name =
    random.below(20) === 0
      ? random.of(["op", "injected", "fill", "count", "relocs", "x"])
      : random.of(Object.keys(fields));
  const value = fields[name];
  if (Array.isArray(value) && typeof value[0] === "object" && random.below(2) === 0) {
    const inner = value[0] as Record<string, unknown>;
    inner[random.of(Object.keys(inner))] = random.of([...HUGE, ...TYPES]);
  } else if (random.below(6) === 0) delete fields[name];
  else fields[name] = random.below(2) === 0 ? random.of(HUGE) : random.of(TYPES);
  return JSON.stringify(fields);
}

function mutant(random: Random, lines: readonly string[]): string {
  const copy = [...lines];
  const at = random.below(copy.length);
  switch (random.below(8)) {
    case 0:
      copy.splice(at, 1);
      break;
    case 1:
      copy.splice(at, 0, ...copy.slice(at, at + 1 + random.below(3)));
      break;
    case 2: {
      const other = random.below(copy.length);
      [copy[at], copy[other]] = [copy[other]!, copy[at]!];
      break;
    }
    case 3:
      return copy.join("\n").slice(0, random.below(copy.join("\n").length));
    case 4:
    case 5:
      copy[at] = changedField(random, copy[at]!);
      break;
    default: {
      const bytes = Buffer.from(copy.join("\n"));
      for (let count = 1 + random.below(3); count > 0; count--) {
        const byte = random.below(bytes.length);
        bytes[byte] = random.below(2) === 0 ? bytes[byte]! ^ (1 << random.below(8)) : random.below(256);
      }
      return bytes.toString();
    }
  }
  return copy.join("\n");
}

/** What a reader of the text does, to its end or to the one line that says what is wrong with it. */
function use(host: HostDescription, text: string): "used" | "refused" {
  try {
    const operations = parseOperations(text, "damaged.jsonl");
    look(operations);
    replay(host, operations, "damaged.jsonl");
    return "used";
  } catch (error) {
    if (!(error instanceof RecordingError)) throw error;
    expect(error.message).toMatch(/^damaged\.jsonl:\d+: [^\p{Cc}]{1,2000}$/u);
    return "refused";
  }
}

function look(operations: readonly Operation[]): void {
  const printer = new TracePrinter(PLAIN, surveyOf(operations));
  const printed = operations.flatMap((operation) => printer.line(operation, { memory: true })?.split("\n") ?? []);
  for (const line of [...printed, ...summaryLines(summarize(operations))]) {
    expect(line.length).toBeLessThan(LINE_MAX);
    expect(line).not.toMatch(/\p{Cc}/u);
  }
  JSON.stringify(operations);
}

describe.each([
  ["a trace", () => ({ host: lab, files: [tracedLines()] })],
  ["a recording of Intel's", () => recorded("intel39-k72fd")],
  ["a recording of POWER's", () => recorded("pseries-6.12-64k")],
] as const)("%s that is damaged", (_what, make) => {
  const { host, files } = make();

  test("was whole", () => {
    expect(files.flat().length).toBeGreaterThan(80);
    for (const lines of files) expect(use(host, lines.join("\n"))).toBe("used");
  });

  test(`is used, or refused in one line that says where (${MUTANTS} mutants)`, { timeout: 600_000 }, () => {
    const seen = { used: 0, refused: 0 };
    for (let seed = SEED; seed < SEED + MUTANTS; seed++) {
      const random = sequence(seed);
      const text = mutant(random, random.of<string[]>(files));
      const start = performance.now();
      try {
        seen[use(host, text)]++;
      } catch (error) {
        throw new Error(`UVFIO_SEED=${seed} UVFIO_STEPS=1`, { cause: error });
      }
      expect(performance.now() - start, `UVFIO_SEED=${seed}: milliseconds`).toBeLessThan(20_000);
    }
    if (MUTANTS < 100) return;
    expect(seen.used).toBeGreaterThan(MUTANTS / 10);
    expect(seen.refused).toBeGreaterThan(MUTANTS / 10);
  });
});
