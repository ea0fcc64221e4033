import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { amount } from "../amount.ts";
import { hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { compileFuzz, type FuzzRun, fuzz, percentile } from "./fuzz-run.ts";

/** `npm run fuzz` sets these. Seconds of all runs together; the seed of every process' decisions. */
const SECONDS = amount("UVFIO_FUZZ_SECONDS", 10, 60);
const SEED = process.env.UVFIO_SEED ?? "1";
const KILLED = String(amount("UVFIO_FUZZ_KILLED", 150, 1500));

/**
 * Nobody waits 100 ms, but for a processor, on a machine that does nothing else (UVFIO_IDLE=1). Of a short run 99.9 % are
 * all, and on a busy machine what counts as a wait for the processor is not all of it.
 */
const HELD_MS = process.env.UVFIO_IDLE ? 100 : 2000;
/** Tests run on busy machines too: this is what no load explains. */
const LONGEST_WAIT_MS = 5000;
const GROWTH_KIB = 200 * 1024;
const LIMIT_MS = SECONDS * 1000 + 600_000;

/** A parent device with mediated ones of two users, as the proposals for shared virtual addresses want it. */
const PROPOSAL_HOST = `
name: proposals
api: vsva-v1
iommu: { model: intel-vtd-sm, address_bits: 48 }
groups:
  - { id: 3, devices: [{ bdf: 0000:03:00.0, id: "1234:11e8", pasid: true, ats: true }] }
  - { id: 4, devices: [{ bdf: 0000:04:00.0, id: "1234:11e8", pasid: true, ats: true }] }
  - { id: 5, devices: [{ bdf: 0000:05:00.0, id: "8086:0b25", driver: idxd }] }
  - { id: 11, devices: [{ uuid: 11111111-0000-0000-0000-000000000001, parent: 0000:05:00.0, type: uvfio-sample, model: sample, iommu_backed: true }] }
  - { id: 12, devices: [{ uuid: 11111111-0000-0000-0000-000000000002, parent: 0000:05:00.0, type: uvfio-sample, model: sample, iommu_backed: true }] }
  - { id: 20, devices: [{ uuid: 22222222-0000-0000-0000-000000000001, parent: 0000:05:00.0, type: uvfio-sample, model: sample }] }
`;

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const proposals = join(scratch.path, "proposals.yaml");
writeFileSync(proposals, PROPOSAL_HOST);

if (!hasCompiler) console.log("the fuzzer's processes: skipped, there is no gcc that finds <linux/vfio.h>");

function report(name: string, run: FuzzRun): void {
  const { figures } = run;
  console.log(
    `${name}, UVFIO_SEED=${SEED}: ${figures.calls} calls, ${figures.processes} processes, ${figures.execs} execs, ${figures.killed} killed; ` +
      `others waited ${figures.waited999Us / 1000} ms (99.9 %), ${figures.waitedMostUs / 1000} ms at most of ${figures.rounds}, for uvfio ` +
      `${figures.held999Us / 1000} and ${figures.heldMostUs / 1000} ms, a plain process ${figures.plain999Us / 1000} and ${figures.plainMostUs / 1000} ms; ` +
      `signals ${shown(run.signalMs)} ms of ${run.signalMs.length}, by uvfio ${shown(run.signalHeldMs)} ms; ${Math.round(percentile(run.residentKib, 1) / 1024)} MiB`,
  );
}

function shown(milliseconds: readonly number[]): string {
  return `${percentile(milliseconds, 0.999).toFixed(1)} (99.9 %) and ${percentile(milliseconds, 1).toFixed(1)}`;
}

/** What must hold whatever the random callers did. */
function check(run: FuzzRun): void {
  expect(run.said).toBe("");
  expect(run.status).toBe(0);
  expect(run.figures.violations).toBe(0);
  expect(run.leftBehind).toEqual([]);
  expect(run.descriptorsLeft).toEqual([]);
  expect(run.figures.rounds).toBeGreaterThan(2);
  expect(run.figures.held999Us / 1000).toBeLessThan(HELD_MS);
  expect(percentile(run.signalHeldMs, 0.999)).toBeLessThan(HELD_MS);
  expect(run.figures.waitedMostUs / 1000).toBeLessThan(LONGEST_WAIT_MS);
  expect(percentile(run.signalMs, 1)).toBeLessThan(LONGEST_WAIT_MS);
  const { length } = run.residentKib;
  const warm = percentile(run.residentKib.slice(length >> 2, length >> 1), 0.5);
  expect(percentile(run.residentKib.slice(-(length >> 2)), 0.5) - warm).toBeLessThan(GROWTH_KIB);
}

describe.skipIf(!hasCompiler)("random calls of many processes (needs gcc)", () => {
  const program = hasCompiler ? compileFuzz(scratch.path) : "";
  const folder = (name: string) => {
    const path = join(scratch.path, name);
    mkdirSync(path);
    return path;
  };

  const hosts: [string, string[], number][] = [
    ["lab", ["-m", "lab"], 0.3],
    ["lab-nesting", ["-m", "lab-nesting"], 0.2],
    ["vsva-v1", ["-m", proposals, "--api", "vsva-v1"], 0.1],
    ["vsva-v7", ["-m", proposals, "--api", "vsva-v7"], 0.1],
    ["rfc-2017", ["-m", proposals, "--api", "rfc-2017"], 0.1],
    ["power9", ["-m", "power9"], 0.1],
    ["sanitized", ["-m", "lab", "--sanitize"], 0.05],
  ];
  // A window's table counts as locked memory, too.
  test.each(hosts.filter(([name]) => name !== "power9" || mayLock(32, "random calls on power9")))(
    "hold up nobody, reach nobody and leave nothing: %s",
    async (name, options, part) => {
      const run = await fuzz(folder(name), program, options, ["processes", SEED, String(SECONDS * part)]);
      report(name, run);
      // the sanitizer's findings are what it is for
      const said = run.said.replaceAll(/^uvfio: (?!internal error).*\n/gm, "");
      check(name === "sanitized" ? { ...run, said } : run);
      expect(run.figures.calls).toBeGreaterThan(200);
      expect(run.figures.looks).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  test(
    "clients that are killed at any moment leave nothing",
    async () => {
      const run = await fuzz(folder("killed"), program, ["-m", "lab"], ["killed", SEED, KILLED]);
      report("killed", run);
      check(run);
      expect(run.figures.killed).toBeGreaterThanOrEqual(Number(KILLED));
    },
    LIMIT_MS * 4,
  );

  test(
    "their trace replays with equal answers",
    async () => {
      const at = folder("traced");
      const trace = join(at, "t.jsonl");
      const options = ["-m", "lab", "--trace", trace];
      const args = ["processes", SEED, String(Math.min(SECONDS * 0.05, 20))];
      const run = await fuzz(at, program, options, args);
      // what holds it up here may be the disk, which each line is written to before the call goes on
      check({ ...run, figures: { ...run.figures, held999Us: 0 }, signalHeldMs: [] });
      expect(uvfio("replay", trace).stdout).toMatch(/^1 recordings?: (\d{3,}) calls, \1 equal, 0 different$/m);
    },
    LIMIT_MS,
  );
});
