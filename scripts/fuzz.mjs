// npm run fuzz -- [--minutes N] [--seed S] [--killed CLIENTS] [--calls N]: test/fuzz for longer than CI has time, and what it printed.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const USAGE = `npm run fuzz -- [--minutes N] [--seed S] [--killed CLIENTS] [--calls N]

  --minutes N        random calls of many processes for so long, on all hosts together (10 seconds; a minute in CI)
  --seed S           of all decisions of all processes; races are not repeated (1)
  --killed CLIENTS   so many short-lived clients that are killed (150; 1500 in CI)
  --calls N          so many random calls in one process, on all hosts together (40000; 400000 in CI)
`;

/** A number of the command line; undefined is left to the test. */
function amount(name, text, factor = 1) {
  if (text === undefined) return undefined;
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0) return String(Number(text) * factor);
  console.error(`fuzz: --${name} ${JSON.stringify(text)} is not a number above 0`);
  process.exit(2);
}

let values;
try {
  const text = { type: "string" };
  const options = { minutes: text, seed: text, killed: text, calls: text, help: { type: "boolean", short: "h" } };
  ({ values } = parseArgs({ options }));
} catch (error) {
  console.error(`fuzz: ${error.message}`);
  process.exit(2);
}
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const settings = {
  UVFIO_FUZZ_SECONDS: amount("minutes", values.minutes, 60),
  UVFIO_SEED: amount("seed", values.seed),
  UVFIO_FUZZ_KILLED: amount("killed", values.killed),
  UVFIO_FUZZ_CALLS: amount("calls", values.calls),
};
const env = { ...process.env };
for (const [name, value] of Object.entries(settings)) if (value !== undefined) env[name] = value;
const root = fileURLToPath(new URL("..", import.meta.url));
const vitest = ["node_modules/vitest/vitest.mjs", "run", "test/fuzz", "--disable-console-intercept"];
process.exitCode = spawnSync(process.execPath, vitest, { cwd: root, env, stdio: "inherit" }).status ?? 1;
