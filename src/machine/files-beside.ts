import { dirname, resolve } from "node:path";
import type { DeviceKinds } from "../devices/kinds.ts";
import type { DeviceOptions, OptionSchema, OptionValue } from "../devices/options.ts";
import { withDevices } from "./find-device.ts";
import type { HostDescription } from "./host-description.ts";

/** A file that the host file at `path` names. */
export function fileBeside(path: string, name: string): string {
  return resolve(path === "-" ? "." : dirname(path), name);
}

/** Files that a host file names are seen from its folder, whatever the folder is that uvfio runs in. */
export function withFilesBeside(path: string, host: HostDescription, kinds: DeviceKinds): HostDescription {
  // those of most devices are the same object: what nobody gave
  const known = new Map<DeviceOptions, DeviceOptions>();
  const groups = withDevices(host.groups, (given) => {
    const kind = given.bus === "pci" ? kinds.pciKind(given.model) : kinds.mediatedKind(given.model);
    const isModule = given.bus === "pci" && given.model.includes("/");
    const device = isModule ? { ...given, model: fileBeside(path, given.model) } : given;
    if (!kind.options || !device.options) return device;
    const options = known.get(device.options) ?? resolved(device.options, kind.options, path);
    known.set(device.options, options);
    return options === device.options ? device : { ...device, options };
  });
  return groups === host.groups ? host : { ...host, groups };
}

/** The options as they are, where none is a path. */
function resolved(options: DeviceOptions, schema: OptionSchema, path: string): DeviceOptions {
  const value = (name: string, given: OptionValue | undefined): OptionValue | undefined => {
    const { isPath, entries } = schema[name]!;
    if (isPath && typeof given === "string") return fileBeside(path, given);
    if (!entries || typeof given !== "object") return given;
    const now = given.map((entry) => resolved(entry as DeviceOptions, entries, path));
    return now.every((entry, index) => entry === given[index]) ? given : now;
  };
  const all = Object.entries(options).map(([name, given]) => [name, value(name, given)] as const);
  return all.every(([name, each]) => each === options[name]) ? options : Object.fromEntries(all);
}
