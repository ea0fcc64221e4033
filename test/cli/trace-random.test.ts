import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { amount } from "../amount.ts";
import { compile, hasCompiler, scratchFolder, uvfio } from "./uvfio.ts";

/** UVFIO_SEED repeats one seed; UVFIO_STEPS makes runs longer. */
const SEEDS = process.env.UVFIO_SEED ? [process.env.UVFIO_SEED] : ["1", "2"];
const STEPS = String(amount("UVFIO_STEPS", 1500, 4000));
const GROUPS = [1, 2, 3, 4, 5].map((group) => `/dev/vfio/${group}`);
const NODES = [
  "/dev/vfio/vfio",
  ...GROUPS,
  "/dev/iommu",
  ...[0, 1, 2].map((index) => `/dev/vfio/devices/vfio${index}`),
];
const DEVICES = [
  "0000:01:00.0",
  "0000:02:00.0",
  "0000:03:00.0",
  "0000:04:00.0",
  "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
];

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe.skipIf(!hasCompiler)("a trace of a program's random calls (needs gcc)", () => {
  const program = hasCompiler ? compile("random-calls", scratch.path) : "";

  test.each(SEEDS)("replays with equal answers (seed %s)", (seed) => {
    const trace = join(scratch.path, `${seed}.jsonl`);
    const args = [seed, STEPS, ...NODES, ...DEVICES.map((device) => `=${device}`)];
    const run = uvfio("run", "-q", "-m", "lab", "--trace", trace, "--", program, ...args);
    expect([run.status, run.stderr], `UVFIO_SEED=${seed}`).toEqual([0, ""]);
    const again = uvfio("replay", trace);
    expect(again.stdout, `UVFIO_SEED=${seed}`).toMatch(/^1 recordings?: (\d{4,}) calls, \1 equal, 0 different$/m);
    expect(uvfio("trace", "--summary", trace).stdout).toMatch(/^VFIO_IOMMU_MAP_DMA +\d+/m);
  });
});
