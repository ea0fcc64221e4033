import { parseFault } from "../../inspect/fault/fault-spec.ts";
import { refuseUnserved } from "../../inspect/fault/served-requests.ts";
import { allDevices } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";

/** Refuses faults that cannot be on this host. @throws FaultSpecError */
export function checkFaults(faults: readonly string[], description: HostDescription): void {
  const devices = allDevices(description).flatMap(({ device }) => (device.bus === "pci" ? [device.bdf] : []));
  for (const text of faults) refuseUnserved(parseFault(text, devices), description);
}
