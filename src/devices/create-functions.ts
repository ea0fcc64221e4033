import { allDevices } from "../machine/find-device.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { configSpace } from "../machine/pci-config.ts";
import type { DeviceClock } from "./device-clock.ts";
import { createModel } from "./models/create-model.ts";
import { PciFunction } from "./pci/function.ts";

/** The PCI functions of a host, by name, as they are when it has booted. */
export function createFunctions(
  host: HostDescription,
  clock: DeviceClock,
  warn: (message: string) => void,
): ReadonlyMap<string, PciFunction> {
  const functions = new Map<string, PciFunction>();
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci") continue;
    const config = configSpace(host, device);
    functions.set(
      device.bdf,
      new PciFunction(device.bdf, device, config, clock, warn, (bus) => createModel(device, bus, host.api)),
    );
  }
  return functions;
}
