import type { DeviceBus } from "../../devices/device-model.ts";
import type { MediatedMemory, MediatedModel } from "../../devices/mediated/mediated-model.ts";
import { composeConfig } from "../../devices/pci/compose-config.ts";
import { PciFunction } from "../../devices/pci/function.ts";
import { deviceInstance } from "../../machine/device-instance.ts";
import { findDevice } from "../../machine/find-device.ts";
import type { HostDescription, MdevDeviceDescription, PciDeviceDescription } from "../../machine/host-description.ts";
import { HostDescriptionError } from "../../machine/host-description-error.ts";
import type { PciContext } from "../pci/pci-context.ts";

/** A mediated device as its driver makes it. */
export interface MediatedFunction {
  readonly target: PciFunction;
  readonly model: MediatedModel;
}

/** Makes a mediated device: whatever its kind, it shows itself as a PCI function whose BARs nobody has placed yet. */
export function createMediated(
  host: HostDescription,
  description: MdevDeviceDescription,
  memory: MediatedMemory,
  context: PciContext,
): MediatedFunction {
  const { clock, warn, kinds } = context;
  const kind = kinds.mediatedKind(description.model);
  const identity = kind.identity(parentOf(host, description));
  const placed = identity.bars.map((bar) => ({ ...bar, address: 0n }));
  const makeModel = (bus: DeviceBus): MediatedModel =>
    kind.create(
      {
        memory,
        dma: host.api === "mainline" ? undefined : bus,
        raise: () => raise(bus),
        lower: () => bus.setLine(false),
        warn: (message) => warn(`${description.uuid}: ${message}`),
      },
      deviceInstance(kind, description),
    );
  // an access to a mapping would reach nobody: the driver has to see each one
  const facts = { ...identity, mmap: false };
  const config = composeConfig(identity, placed, kind.config);
  const target: PciFunction = new PciFunction(description.uuid, facts, config, clock, warn, makeModel);
  return { target, model: target.model as MediatedModel };

  /** The driver signals the eventfd itself, there is no bus between: bus mastering does not matter. */
  function raise(bus: DeviceBus): void {
    if (bus.messagesEnabled) target.interrupts?.message(0);
    else bus.setLine(true);
  }
}

function parentOf(host: HostDescription, { uuid, parent }: MdevDeviceDescription): PciDeviceDescription {
  const { device } = findDevice(host, parent);
  if (device.bus !== "pci") throw new HostDescriptionError(`${parent}, the parent of ${uuid}, is no PCI device`);
  return device;
}
