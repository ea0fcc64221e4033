import { dirname, resolve } from "node:path";
import type { DeviceKinds } from "../devices/kinds.ts";
import type { DeviceOptions, OptionSchema, OptionValue } from "../devices/options.ts";
import type { DeviceDescription, HostDescription } from "./host-description.ts";

/** Files that a host file names are seen from its folder, whatever the folder is that uvfio runs in. */
export function withFilesBeside(path: string, host: HostDescription, kinds: DeviceKinds): HostDescription {
  const folder = path === "-" ? "." : dirname(path);
  const withFiles = (device: DeviceDescription): DeviceDescription => {
    const kind = device.bus === "pci" ? kinds.pciKind(device.model) : kinds.mediatedKind(device.model);
    if (!kind.options || !device.options) return device;
    return { ...device, options: resolved(device.options, kind.options, folder) };
  };
  return { ...host, groups: host.groups.map((group) => ({ ...group, devices: group.devices.map(withFiles) })) };
}

function resolved(options: DeviceOptions, schema: OptionSchema, folder: string): DeviceOptions {
  const value = (name: string, given: OptionValue | undefined): OptionValue | undefined => {
    const { isPath, entries } = schema[name]!;
    if (isPath && typeof given === "string") return resolve(folder, given);
    if (!entries || typeof given !== "object") return given;
    return given.map((entry) => resolved(entry, entries, folder));
  };
  return Object.fromEntries(Object.entries(options).map(([name, given]) => [name, value(name, given)]));
}
