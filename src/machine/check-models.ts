import type { DeviceKind } from "../devices/kind.ts";
import type { DeviceKinds } from "../devices/kinds.ts";
import { readOptions } from "../devices/options.ts";
import { notOneOf } from "../kernel/written-values.ts";
import type { DeviceDescription, HostDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";

/**
 * A description may be made in code, or of a file that was read with other kinds of devices: what its devices are is
 * checked before a host is made of it. Throws HostDescriptionError with the place.
 */
export function checkModels(host: HostDescription, kinds: DeviceKinds): void {
  const problems: string[] = [];
  for (let group = 0; group < host.groups.length; group++) {
    const { devices } = host.groups[group]!;
    for (let index = 0; index < devices.length; index++) {
      const found = problemsOf(devices[index]!, kinds);
      if (found.length > 0) problems.push(...found.map((problem) => `groups[${group}].devices[${index}].${problem}`));
    }
  }
  if (problems.length > 0) throw new HostDescriptionError(problems);
}

function problemsOf(device: DeviceDescription, kinds: DeviceKinds): readonly string[] {
  const { bus, model } = device;
  const models = bus === "pci" ? kinds.pciModels : kinds.mediatedModels;
  if (bus === "pci" ? !kinds.hasPciModel(model) : !models.includes(model)) return [`model: ${notOneOf(model, models)}`];
  const kind: DeviceKind = bus === "pci" ? kinds.pciKind(model) : kinds.mediatedKind(model);
  return readOptions(kind, device.options).problems.map(
    ({ option, message }) => `options${option === undefined ? "" : `.${option}`}: ${message}`,
  );
}
