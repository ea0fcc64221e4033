import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Of numbers: the one in the middle. */
export function median(numbers) {
  return quantile(numbers, 0.5);
}

/** @param {number} share 0 the least, 1 the largest */
export function quantile(numbers, share) {
  const sorted = Float64Array.from(numbers).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/**
 * Runs two measurements in turn, so that whatever else the machine does meets both.
 * @param {() => number} measured
 * @param {() => number} baseline
 * @param {(numbers: number[]) => number} pick what stands for all rounds of one side
 * @returns {{ ratio: number, rounds: number[] }} of what was picked, and of each round
 */
export function alternate(count, measured, baseline, pick = median) {
  const pairs = Array.from({ length: count }, (_, round) => {
    // Neither is always the first.
    if (round % 2 === 1) {
      const second = baseline();
      return [measured(), second];
    }
    return [measured(), baseline()];
  });
  const ratio = pick(pairs.map(([m]) => m)) / pick(pairs.map(([, b]) => b));
  return { ratio, rounds: pairs.map(([m, b]) => m / b) };
}

/** Runs a command that writes times in nanoseconds, as 32-bit numbers, to stdout. */
export function times(command) {
  const { status, stdout, stderr } = run(command);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${stderr}`);
  return new Uint32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.length));
}

/** Runs a command that writes numbers as text, one a line, and returns the least of them: what others on the machine disturbed least. */
export function leastOf(command) {
  const { status, stdout, stderr } = run(command);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${stderr}`);
  return least(stdout.toString().trim().split("\n").map(Number));
}

export function least(numbers) {
  return numbers.reduce((smallest, each) => Math.min(smallest, each), Number.POSITIVE_INFINITY);
}

/** Runs a script of bench/inside in a process of its own, whose V8 has compiled nothing else, and returns its answer. */
export function inside(script, ...args) {
  return insideWith([], script, ...args);
}

/** The same with options for V8. */
export function insideWith(options, script, ...args) {
  const path = fileURLToPath(new URL(`../inside/${script}.mjs`, import.meta.url));
  const command = [process.execPath, "--expose-gc", ...options, path, ...args.map(String)];
  const { status, stdout, stderr } = run(command);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${stderr}`);
  return JSON.parse(stdout.toString());
}

/** Milliseconds from the start of a command to its end. */
export function wallClock(command, environment = {}) {
  const start = performance.now();
  const { status, stderr } = run(command, environment);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${stderr}`);
  return performance.now() - start;
}

/**
 * The most memory that a command of node's had, in bytes.
 * @param command whose first word is node itself
 */
export function mostMemory([node, ...args]) {
  const probe = fileURLToPath(new URL("most-memory.cjs", import.meta.url));
  const command = [node, "--require", probe, ...args];
  const { status, stderr } = run(command);
  const found = /most memory: (\d+)\n/.exec(stderr.toString());
  if (status !== 0 || !found) throw new Error(`${command.join(" ")}: status ${status}: ${stderr}`);
  return Number(found[1]);
}

/** Milliseconds of processors that a command takes, with all processes that it waits for: what others do on the machine disturbs it less. */
export function processorTime(command) {
  const timed = ["bash", "-c", 'TIMEFORMAT="%U %S"; time "$@" >/dev/null 2>&1', "bash", ...command];
  const { status, stderr } = run(timed);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}`);
  const [user, system] = stderr.toString().trim().split(" ").map(Number);
  return (user + system) * 1000;
}

function run([program, ...args], environment = {}) {
  // node reads certificates, options and more for such variables: they would be measured instead
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("NODE_"));
  const env = { ...Object.fromEntries(own), ...environment };
  return spawnSync(program, args, { env, maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] });
}
