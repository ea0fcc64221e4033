import type { DeviceBus } from "../../devices/device-model.ts";
import { generic } from "../../devices/kinds/generic.ts";
import { OptionError } from "../../devices/options.ts";
import { PciFunction } from "../../devices/pci/function.ts";
import { ROM_BAR } from "../../devices/pci/registers.ts";
import { romBytes } from "../../devices/pci/rom-image.ts";
import { deviceInstance, translationOf } from "../../machine/device-instance.ts";
import type { HostDescription, PciDeviceDescription } from "../../machine/host-description.ts";
import { HostDescriptionError } from "../../machine/host-description-error.ts";
import { configSpace } from "../../machine/pci-config.ts";
import { physicalFunctions, routingId } from "../../machine/virtual-functions.ts";
import type { ModelContext } from "../model-context.ts";

/** One PCI function of a host, as it comes up. */
export function createFunction(
  host: HostDescription,
  device: PciDeviceDescription,
  context: ModelContext,
): PciFunction {
  const { clock, warn, kinds, errors } = context;
  const config = () => configSpace(host, device, kinds);
  const kind = kinds.pciKind(device.model);
  const instance = () => ({
    ...deviceInstance(kind, device),
    translation: translationOf(host, device),
    ids: device,
    virtual: virtualOf(host, device),
    rom: romOf(device),
  });
  const create = (bus: DeviceBus) => withPlace(host, device, () => kind.create(bus, instance()));
  return new PciFunction(device.bdf, device, config, clock, warn, create, device.zpci && errors);
}

/** Whether a function's model need not be there when its host boots. */
export function canWait(device: PciDeviceDescription, { kinds }: ModelContext): boolean {
  const kind = kinds.pciKind(device.model);
  return kind.canWait?.(deviceInstance(kind, device).options) ?? false;
}

/** Has a function's model find the others that it has to do with. */
export function connectFunction(
  host: HostDescription,
  device: PciDeviceDescription,
  topology: { find(name: string): PciFunction | undefined; all(): Iterable<PciFunction> },
): void {
  const model = topology.find(device.bdf)?.model;
  if (!model?.connect) return;
  withPlace(host, device, () =>
    model.connect!({
      find: (other) => topology.find(other)?.model,
      *all() {
        for (const other of topology.all()) yield other.model;
      },
    }),
  );
}

function virtualOf(host: HostDescription, { bdf, physfn }: PciDeviceDescription) {
  if (physfn === undefined) return undefined;
  const physical = physicalFunctions(host).get(physfn);
  if (!physical) return undefined;
  const { offset, stride } = physical;
  return { physical: physfn, index: (routingId(bdf) - routingId(physfn) - offset) / stride };
}

/** What is wrong with an option shows only now: says where in the description it is. */
function withPlace<T>(host: HostDescription, device: PciDeviceDescription, create: () => T): T {
  try {
    return create();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const group = host.groups.findIndex(({ devices }) => devices.includes(device));
    // a device that came while the host runs is in no list
    const index = host.groups[group]?.devices.indexOf(device);
    const place = index === undefined ? device.bdf : `groups[${group}].devices[${index}]`;
    throw new HostDescriptionError(`${place}.options.${error.option}: ${error.message}`, { cause: error });
  }
}

function romOf(device: PciDeviceDescription): Uint8Array | undefined {
  if (device.rom instanceof Uint8Array) return device.rom;
  const isGeneric = device.model === generic.model && device.bars.some(({ index }) => index === ROM_BAR);
  return isGeneric ? romBytes(device) : undefined;
}
