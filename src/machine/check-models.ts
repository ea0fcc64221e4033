import type { DeviceKind } from "../devices/kind.ts";
import type { DeviceKinds } from "../devices/kinds.ts";
import { readOptions } from "../devices/options.ts";
import { notOneOf } from "../kernel/written-values.ts";
import type { DeviceDescription, HostDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";

/**
 * A description may be made in code, or of a file that was read with other kinds of devices: what its devices are is checked before a host is
 * made of it. Throws HostDescriptionError with the place.
 */
export function checkModels(host: HostDescription, kinds: DeviceKinds): void {
  for (const [group, { devices }] of host.groups.entries())
    for (const [index, device] of devices.entries()) checkModel(device, `groups[${group}].devices[${index}]`, kinds);
}

function checkModel(device: DeviceDescription, place: string, kinds: DeviceKinds): void {
  const { bus, model } = device;
  const models = bus === "pci" ? kinds.pciModels : kinds.mediatedModels;
  if (!models.includes(model)) throw new HostDescriptionError(`${place}.model: ${notOneOf(model, models)}`);
  const kind: DeviceKind = bus === "pci" ? kinds.pciKind(model) : kinds.mediatedKind(model);
  const [problem] = readOptions(kind, device.options ?? {}).problems;
  if (!problem) return;
  const option = problem.option === undefined ? "" : `.${problem.option}`;
  throw new HostDescriptionError(`${place}.options${option}: ${problem.message}`);
}
