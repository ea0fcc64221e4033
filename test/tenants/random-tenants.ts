import { expect, test } from "vitest";
import { ContainerWorld, hostDescription } from "./container-world.ts";
import { DIALECTS } from "./dialect.ts";
import { type MakeWorld, runEpisodes, totalSteps } from "./episode.ts";
import { ModelMachine } from "./machine.ts";

/** Each has a test file of its own, so that they run beside each other. */
const APIS = 4;
const LIMIT_MS = 3_600_000;

/** Tenants that share a host through containers. */
export function containers(api: keyof typeof DIALECTS): MakeWorld {
  const description = hostDescription(api);
  const dialect = DIALECTS[api]();
  return (seed) => {
    const processes = processesOf(seed);
    return new ContainerWorld(dialect, ModelMachine.booted(description, processes), processes, seed);
  };
}

/** 2 to 4. */
export function processesOf(seed: number): number {
  return 2 + (seed % 3);
}

/** The share of an API of all steps (README.md). */
export function testTenants(api: string, make: () => MakeWorld): void {
  test(
    `tenants that share a host never meet: ${api}`,
    () => {
      const before = process.cpuUsage();
      const { steps, successes } = runEpisodes(api, make(), Math.ceil(totalSteps() / APIS), 1);
      const { user, system } = process.cpuUsage(before);
      if (process.env.UVFIO_TENANT_STEPS) {
        console.log(`${api}: ${steps} steps, ${Math.round((steps * 1e6) / (user + system))} a second`, successes);
      }
      if (successes.size === 0) return;
      // both kinds were there in numbers
      expect(successes.get("reached by PASID")).toBeGreaterThan(steps / 20);
      expect(successes.get("refused")).toBeGreaterThan(steps / 20);
    },
    LIMIT_MS,
  );
}
