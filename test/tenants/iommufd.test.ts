import { IommufdWorld, iommufdDescription } from "./iommufd-world.ts";
import { ModelMachine } from "./machine.ts";
import { processesOf, testTenants } from "./random-tenants.ts";

testTenants("iommufd", () => {
  const description = iommufdDescription();
  return (seed) => {
    const processes = processesOf(seed);
    return new IommufdWorld(ModelMachine.booted(description, processes), processes, seed);
  };
});
