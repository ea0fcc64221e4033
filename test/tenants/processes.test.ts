import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { amount } from "../amount.ts";
import { compile, hasCompiler, scratchFolder } from "../cli/uvfio.ts";
import { ContainerWorld, hostFile } from "./container-world.ts";
import { DIALECTS } from "./dialect.ts";
import { IOMMUFD_HOST_FILE, IommufdWorld } from "./iommufd-world.ts";
import type { Machine } from "./machine.ts";
import { RealMachine } from "./real-machine.ts";
import { type Step, stepLine, type World } from "./steps.ts";

/** Of one API; UVFIO_TENANT_PROCESS_STEPS has another number. */
const STEPS = amount("UVFIO_TENANT_PROCESS_STEPS", 300, 1500);
const SEED = Number(process.env.UVFIO_TENANT_SEED ?? 1);
const PROCESSES = 3;
const LIMIT_MS = 600_000;

const scratch = scratchFolder();
afterAll(() => scratch.remove());

if (!hasCompiler) console.log("tenants as processes of their own: skipped, there is no gcc that finds <linux/vfio.h>");

const container = (api: keyof typeof DIALECTS) => (machine: Machine) =>
  new ContainerWorld(DIALECTS[api](), machine, PROCESSES, SEED);

describe.skipIf(!hasCompiler)("tenants that are processes under uvfio run (needs gcc)", () => {
  const program = hasCompiler ? compile("tenant-calls", scratch.path) : "";

  test.each<[string, string, (machine: Machine) => World]>([
    ["vsva-v1", hostFile("vsva-v1"), container("vsva-v1")],
    ["vsva-v7", hostFile("vsva-v7"), container("vsva-v7")],
    ["rfc-2017", hostFile("rfc-2017"), container("rfc-2017")],
    ["iommufd", IOMMUFD_HOST_FILE, (machine) => new IommufdWorld(machine, PROCESSES, SEED)],
  ])(
    "never meet: %s",
    async (api, host, make) => {
      const folder = join(scratch.path, api);
      mkdirSync(folder);
      const hostPath = join(folder, "host.yaml");
      writeFileSync(hostPath, host);
      const machine = new RealMachine(folder, program, hostPath, PROCESSES);
      const steps: Step[] = [];
      try {
        const world = make(machine);
        for (let index = 0; index < STEPS; index++) {
          steps.push(world.choose());
          world.apply(steps[index]!);
        }
        world.end();
        expect(await machine.ended()).toBe(0);
        expect(world.successes.get("reached by PASID")).toBeGreaterThan(STEPS / 50);
      } catch (error) {
        // the test file of the API replays them in this process (UVFIO_TENANT_REPLAY)
        throw new Error(`${api}, UVFIO_TENANT_SEED=${SEED}: ${error}\n${steps.map(stepLine).join("\n")}`, {
          cause: error,
        });
      } finally {
        machine.stop();
      }
    },
    LIMIT_MS,
  );
});
