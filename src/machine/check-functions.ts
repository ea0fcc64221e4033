import type { FieldPath, Problem } from "./host-fields.ts";
import type { DeviceFile, HostFile } from "./host-schema.ts";
import { routingId, segmentOf } from "./virtual-functions.ts";

/** Whether any device of a file is such a one. */
export function hasDevice({ groups, devices }: HostFile, isOne: (device: DeviceFile) => boolean): boolean {
  return groups.some((group) => group.devices?.some(isOne)) || (devices?.some(isOne) ?? false);
}

/** Every device of a file, and where it is said. */
export function devicePlaces(file: HostFile): readonly { readonly device: DeviceFile; readonly path: FieldPath }[] {
  return [
    ...file.groups.flatMap((group, index) =>
      (group.devices ?? []).map((device, position) => ({ device, path: ["groups", index, "devices", position] })),
    ),
    ...(file.devices ?? []).map((device, position) => ({ device, path: ["devices", position] })),
  ];
}

/** Virtual functions and bridges: what says something of another device. */
export function* functionProblems(file: HostFile): Generator<Problem> {
  if (!hasDevice(file, saysOfOthers)) return;
  const places = devicePlaces(file).flatMap(({ device, path }) => ("uuid" in device ? [] : [{ device, path }]));
  const byAddress = new Map(places.map(({ device }) => [device.bdf, device]));
  const virtual = new Map<string, number>();
  const bridges = new Map<string, string>();
  for (const { device, path } of places) {
    const { bdf, physfn, secondary_bus: bus } = device;
    if (physfn != null) {
      const physical = byAddress.get(physfn);
      const at = [...path, "physfn"];
      if (!physical) yield { path: at, message: `no PCI device ${physfn} in this file` };
      else if (physical.physfn != null) yield { path: at, message: `${physfn} is a virtual function itself` };
      else if (segmentOf(physfn) !== segmentOf(bdf) || routingId(physfn) >= routingId(bdf))
        yield {
          path: at,
          message: `a virtual function has a higher address than its physical one, ${physfn}, on the same domain`,
        };
      virtual.set(physfn, (virtual.get(physfn) ?? 0) + 1);
    }
    if (bus == null) continue;
    const name = `${segmentOf(bdf)}:${bus.toString(16).padStart(2, "0")}`;
    const other = bridges.get(name);
    if (other !== undefined)
      yield { path: [...path, "secondary_bus"], message: `bus ${name} is below ${other} already` };
    else if (bus <= routingId(bdf) >> 8)
      yield { path: [...path, "secondary_bus"], message: `the bus below a bridge has a higher number than its own` };
    bridges.set(name, bdf);
  }
  for (const { device, path } of places) {
    const functions = virtual.get(device.bdf) ?? 0;
    if (device.sriov_totalvfs != null && functions > device.sriov_totalvfs)
      yield {
        path: [...path, "sriov_totalvfs"],
        message: `${functions} devices of this file are virtual functions of it`,
      };
  }
}

function saysOfOthers(device: DeviceFile): boolean {
  return (
    !("uuid" in device) && (device.physfn != null || device.secondary_bus != null || device.sriov_totalvfs != null)
  );
}
