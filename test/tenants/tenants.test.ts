import { expect, test } from "vitest";
import { Host as IommufdHost } from "../../src/iommufd/host.ts";
import { Host } from "../../src/vfio/host.ts";
import { ContainerWorld, hostDescription } from "./container-world.ts";
import { DIALECTS } from "./dialect.ts";
import { type MakeWorld, runEpisodes, totalSteps } from "./episode.ts";
import { IommufdWorld, iommufdDescription } from "./iommufd-world.ts";
import { ModelMachine } from "./machine.ts";

const APIS = 4;
const LIMIT_MS = 3_600_000;

function containers(api: keyof typeof DIALECTS): MakeWorld {
  const description = hostDescription(api);
  const dialect = DIALECTS[api]();
  return (seed) => {
    const processes = 2 + (seed % 3);
    return new ContainerWorld(dialect, new ModelMachine(new Host(description), processes), processes, seed);
  };
}

function iommufds(): MakeWorld {
  const description = iommufdDescription();
  return (seed) => {
    const processes = 2 + (seed % 3);
    return new IommufdWorld(new ModelMachine(new IommufdHost(description), processes), processes, seed);
  };
}

test.each([
  ["vsva-v1", () => containers("vsva-v1")],
  ["vsva-v7", () => containers("vsva-v7")],
  ["rfc-2017", () => containers("rfc-2017")],
  ["iommufd", iommufds],
])(
  "tenants that share a host never meet: %s",
  (api, make) => {
    const before = process.cpuUsage();
    const { steps, successes } = runEpisodes(api, make(), Math.ceil(totalSteps() / APIS), 1);
    const { user, system } = process.cpuUsage(before);
    if (process.env.UVFIO_TENANT_STEPS) {
      console.log(`${api}: ${steps} steps, ${Math.round((steps * 1e6) / (user + system))} a second`, successes);
    }
    // both kinds were there in numbers
    expect(successes.get("reached by PASID")).toBeGreaterThan(steps / 20);
    expect(successes.get("refused")).toBeGreaterThan(steps / 20);
  },
  LIMIT_MS,
);
