import { expect, test } from "vitest";
import { Host } from "../../src/vfio/host.ts";
import { ContainerWorld, hostDescription } from "./container-world.ts";
import { type Api, DIALECTS } from "./dialect.ts";
import { runEpisodes, totalSteps } from "./episode.ts";
import { ModelMachine } from "./machine.ts";

const APIS = 4;

test.each(["vsva-v1", "vsva-v7", "rfc-2017"] as const)(
  "tenants that share a host through containers never meet: %s",
  (api: Api) => {
    const description = hostDescription(api);
    const dialect = DIALECTS[api]();
    const make = (seed: number) => {
      const processes = 2 + (seed % 3);
      return new ContainerWorld(dialect, new ModelMachine(new Host(description), processes), processes, seed);
    };
    const start = process.cpuUsage();
    const { steps, successes } = runEpisodes(api, make, Math.ceil(totalSteps() / APIS), 1);
    const seconds = (process.cpuUsage(start).user + process.cpuUsage(start).system) / 1e6;
    console.log(api, steps, `${Math.round(steps / seconds)} steps/s`, Object.fromEntries(successes));
    expect(successes.get("reached by PASID")).toBeGreaterThan(steps / 100);
  },
  600_000,
);
