import { dirname, resolve } from "node:path";
import type { DeviceKinds } from "../devices/kinds.ts";
import type { DeviceOptions, OptionSchema, OptionValue } from "../devices/options.ts";
import type { DeviceDescription, HostDescription } from "./host-description.ts";

/** A file that the host file at `path` names. */
export function fileBeside(path: string, name: string): string {
  return resolve(path === "-" ? "." : dirname(path), name);
}

/** Files that a host file names are seen from its folder, whatever the folder is that uvfio runs in. */
export function withFilesBeside(path: string, host: HostDescription, kinds: DeviceKinds): HostDescription {
  const withFiles = (given: DeviceDescription): DeviceDescription => {
    const kind = given.bus === "pci" ? kinds.pciKind(given.model) : kinds.mediatedKind(given.model);
    const isModule = given.bus === "pci" && given.model.includes("/");
    const device = isModule ? { ...given, model: fileBeside(path, given.model) } : given;
    if (!kind.options || !device.options) return device;
    return { ...device, options: resolved(device.options, kind.options, path) };
  };
  return { ...host, groups: host.groups.map((group) => ({ ...group, devices: group.devices.map(withFiles) })) };
}

function resolved(options: DeviceOptions, schema: OptionSchema, path: string): DeviceOptions {
  const value = (name: string, given: OptionValue | undefined): OptionValue | undefined => {
    const { isPath, entries } = schema[name]!;
    if (isPath && typeof given === "string") return fileBeside(path, given);
    if (!entries || typeof given !== "object") return given;
    return given.map((entry) => resolved(entry as DeviceOptions, entries, path));
  };
  return Object.fromEntries(Object.entries(options).map(([name, given]) => [name, value(name, given)]));
}
