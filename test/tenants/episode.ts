import { readFileSync } from "node:fs";
import { amount } from "../amount.ts";
import { parseStep, type Step, stepLine, TenantViolation, type World } from "./steps.ts";

/** Makes a world that is always the same for a seed. */
export type MakeWorld = (seed: number) => World;

/** Steps of one world: short enough that a failure can be read. */
const EPISODE_STEPS = 2500;
/** Steps that are spent on a shorter list. */
const SHRINK_STEPS = 150_000;

/** The steps of all APIs together: a million in CI. */
export function totalSteps(): number {
  return amount("UVFIO_TENANT_STEPS", 60_000, 1_000_000);
}

export interface Summary {
  readonly steps: number;
  readonly successes: ReadonlyMap<string, number>;
}

/**
 * Runs random steps in one world after the other. Fails with the seed, and the shortest list of steps that was found to fail.
 *
 * UVFIO_TENANT_SEED runs the one world of that seed; UVFIO_TENANT_REPLAY the steps of a file.
 */
export function runEpisodes(name: string, make: MakeWorld, steps: number, firstSeed: number): Summary {
  const { UVFIO_TENANT_SEED: wanted, UVFIO_TENANT_REPLAY: file } = process.env;
  if (file) {
    const list = readFileSync(file, "utf8").split("\n").filter(Boolean).map(parseStep);
    const violation = replay(make, firstSeed, list);
    if (violation) throw violation;
    return { steps: list.length, successes: new Map() };
  }
  const successes = new Map<string, number>();
  let done = 0;
  for (let seed = wanted === undefined ? firstSeed : Number(wanted); done < steps; seed++) {
    const count = Math.min(EPISODE_STEPS, steps - done);
    const world = withoutStacks(() => runOne(name, make, seed, count, done));
    for (const [op, times] of world.successes) successes.set(op, (successes.get(op) ?? 0) + times);
    done += count;
    if (wanted !== undefined) break;
  }
  return { steps: done, successes };
}

/** Calls that are refused are frequent here, and nobody reads where in the product each error was made. */
function withoutStacks<T>(run: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function runOne(name: string, make: MakeWorld, seed: number, count: number, before: number): World {
  const list: Step[] = [];
  const world = make(seed);
  try {
    for (let index = 0; index < count; index++) {
      const step = world.choose();
      list.push(step);
      world.apply(step);
    }
    world.end();
    return world;
  } catch (error) {
    if (!(error instanceof TenantViolation)) {
      throw new Error(`${name}, seed ${seed}, step ${list.length}: ${error}\n${tail(list)}`, { cause: error });
    }
    const shortest = shrink(make, seed, list);
    const lines = shortest.steps.map(stepLine).join("\n");
    throw new TenantViolation(
      `${name}: ${error.message}\nUVFIO_TENANT_SEED=${seed}, step ${list.length} (${before + list.length} in all). ` +
        `${shortest.steps.length} steps are enough (UVFIO_TENANT_REPLAY=FILE runs these lines): ${shortest.message}\n${lines}`,
    );
  }
}

function tail(list: readonly Step[]): string {
  return list.slice(-20).map(stepLine).join("\n");
}

/** The violation that a list of steps ends in. */
function replay(make: MakeWorld, seed: number, list: readonly Step[]): TenantViolation | undefined {
  const world = make(seed);
  try {
    for (const step of list) world.apply(step);
    world.end();
    return undefined;
  } catch (error) {
    if (error instanceof TenantViolation) return error;
    throw error;
  }
}

/** Leaves pieces of the list out, ever smaller ones, as long as what is left fails. */
function shrink(make: MakeWorld, seed: number, list: readonly Step[]): { steps: readonly Step[]; message: string } {
  let steps = list;
  let message = "(not with these steps alone)";
  let left = SHRINK_STEPS;
  for (let size = Math.ceil(list.length / 2); size >= 1 && left > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < steps.length && left > 0; ) {
      const shorter = [...steps.slice(0, start), ...steps.slice(start + size)];
      left -= shorter.length;
      const violation = replay(make, seed, shorter);
      if (violation) [steps, message] = [shorter, violation.message];
      else start += size;
    }
  }
  return { steps, message };
}
