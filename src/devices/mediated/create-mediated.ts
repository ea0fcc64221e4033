import type { HostDescription, MdevDeviceDescription } from "../../machine/host-description.ts";
import { mediatedConfig, mediatedIdentity } from "../../machine/mediated-config.ts";
import type { DeviceClock } from "../device-clock.ts";
import type { DeviceBus, DeviceModel } from "../device-model.ts";
import { GenericDevice } from "../models/generic.ts";
import { PciFunction } from "../pci/function.ts";
import type { MediatedMemory, MediatedModel } from "./mediated-model.ts";
import { SampleMediatedDevice } from "./sample.ts";

/** A mediated device as its driver makes it. */
export interface MediatedFunction {
  readonly target: PciFunction;
  /** Undefined for a device that never pins. */
  readonly dmaUnmap: MediatedModel["dmaUnmap"] | undefined;
}

/** Makes a mediated device. A new model is a file beside this one, a case here, and its name in machine/host-description.ts. */
export function createMediated(
  host: HostDescription,
  description: MdevDeviceDescription,
  memory: MediatedMemory,
  clock: DeviceClock,
  warn: (message: string) => void,
): MediatedFunction {
  const identity = mediatedIdentity(host, description);
  let sample: SampleMediatedDevice | undefined;
  const makeModel = (bus: DeviceBus): DeviceModel => {
    if (description.model === "generic") return new GenericDevice();
    sample = new SampleMediatedDevice({
      memory,
      dma: host.api === "mainline" ? undefined : bus,
      raise: () => raise(bus),
      lower: () => bus.setLine(false),
      warn: (message) => warn(`${description.uuid}: ${message}`),
    });
    return sample;
  };
  // an access to a mapping would reach nobody: the driver has to see each one
  const facts = { ...identity, mmap: false };
  const target: PciFunction = new PciFunction(
    description.uuid,
    facts,
    mediatedConfig(identity),
    clock,
    warn,
    makeModel,
  );
  const dmaUnmap = sample && ((iova: bigint, size: bigint) => sample?.dmaUnmap(iova, size));
  return { target, dmaUnmap };

  /** The driver signals the eventfd itself, there is no bus between: bus mastering does not matter. */
  function raise(bus: DeviceBus): void {
    if (bus.messagesEnabled) target.interrupts?.message(0);
    else bus.setLine(true);
  }
}
